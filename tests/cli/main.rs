//! The command-line tool as its users meet it: the real binary, its output, its errors and its exit codes.
#![cfg(feature = "cli")]

mod backup;
mod bench;
mod commands;
mod dump;
mod help;
mod load;
mod peers;
mod picture;
mod round_trip;
mod shell;
mod terminal;
mod tool;
mod wait;
