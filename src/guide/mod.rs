//! The guide: what folio does and how to use it, chapter by chapter.
//!
//! Each chapter is a module without code: its text is here, and its examples are run as tests. Read the first three, and the
//! others when you need them.
//!
//! | chapter | what it answers |
//! |---|---|
//! | [`opening`] | How is a database opened and closed, which options are there, and who may have it open? |
//! | [`transactions`] | Read and write transactions, savepoints, group commit, optimistic transactions: which one when? |
//! | [`buckets`] | How are entries found, walked, counted and changed? What about large values? |
//! | [`durability`] | What does a commit wait for, and what may a power cut or a killed process take? |
//! | [`readers`] | What does a long reader cost? How do two snapshots compare? |
//! | [`backups`] | How is a database copied while it is in use, and how is a copy checked? |
//! | [`errors`] | What does each error mean, and what is to be done? |
//! | [`tuning`] | What makes it faster or smaller, and how is that measured? |
//! | [`format`](mod@format) | What is in the file? |
//! | [`migrating`] | How does code for LMDB, redb or bbolt look here? |

pub mod backups;
pub mod buckets;
pub mod durability;
pub mod errors;
pub mod format;
pub mod migrating;
pub mod opening;
pub mod readers;
pub mod transactions;
pub mod tuning;
