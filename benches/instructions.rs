//! How many instructions the operations execute, counted by valgrind: a regression shows in one run, whatever else the machine does.
//!
//! `cargo bench --bench instructions`. It needs valgrind, and `gungraun-runner` in the version of gungraun that Cargo.lock names:
//! `cargo install gungraun-runner --version 0.20.0`. Without them it says what is missing and does nothing else. The runner keeps the
//! counts and shows what has changed since the run before. Each count is of a thousand operations on ten thousand entries in memory,
//! which were checked before. What the machine waits for is not in it: a miss of the cache costs no instruction. `operations` has the
//! times.
#![allow(missing_docs)] // The macros make what is public.

#[allow(dead_code)] // It is not criterion that measures here.
mod common;
#[path = "common/shapes.rs"]
mod shapes;

use std::hint::black_box;
use std::process::{Command, Stdio};

use common::BUCKET;
use folio::Database;
use gungraun::{library_benchmark, library_benchmark_group};
use shapes::Shape;

const COUNT: usize = 10_000;

/// How many operations are counted together.
const TIMES: usize = 1_000;

type Fixture = (Database, Shape);

fn load(shape: Shape) -> Fixture {
    let db = Database::in_memory().expect("memory");
    common::load(&db, &shape.entries).expect("room for the entries");
    common::assert_holds(&db, &shape.entries);
    (db, shape)
}

/// A thousand times one operation.
type Operation = fn(&Fixture);

const OPERATIONS: [Operation; 9] = [get, get_many, next, next_back, range, begin_read, open_bucket, put, delete];

fn get((db, shape): &Fixture) {
    let txn = db.begin_read().expect("a snapshot");
    let bucket = txn.bucket(BUCKET).expect("a catalog").expect("the bucket");
    for (key, _) in &shape.entries[..TIMES] {
        assert!(black_box(bucket.get(key)).expect("sound pages").is_some());
    }
}

/// In batches of 40.
fn get_many((db, shape): &Fixture) {
    let txn = db.begin_read().expect("a snapshot");
    let bucket = txn.bucket(BUCKET).expect("a catalog").expect("the bucket");
    let mut values = [None; 40];
    for batch in shape.entries[..TIMES].chunks_exact(values.len()) {
        let keys: [&[u8]; 40] = std::array::from_fn(|i| &batch[i].0[..]);
        bucket.get_many_into(&keys, &mut values).expect("sound pages");
        assert!(black_box(&values).iter().all(Option::is_some));
    }
}

fn next((db, _): &Fixture) {
    let txn = db.begin_read().expect("a snapshot");
    let bucket = txn.bucket(BUCKET).expect("a catalog").expect("the bucket");
    for entry in bucket.iter().take(TIMES) {
        black_box(entry.expect("sound pages"));
    }
}

fn next_back((db, _): &Fixture) {
    let txn = db.begin_read().expect("a snapshot");
    let bucket = txn.bucket(BUCKET).expect("a catalog").expect("the bucket");
    for entry in bucket.iter().rev().take(TIMES) {
        black_box(entry.expect("sound pages"));
    }
}

/// The first entry of a range that begins anywhere.
fn range((db, shape): &Fixture) {
    let txn = db.begin_read().expect("a snapshot");
    let bucket = txn.bucket(BUCKET).expect("a catalog").expect("the bucket");
    for key in &shape.missing[..TIMES] {
        // Behind the last key there is none.
        black_box(bucket.range(&key[..]..).next()).transpose().expect("sound pages");
    }
}

fn begin_read((db, _): &Fixture) {
    for _ in 0..TIMES {
        black_box(db.begin_read()).expect("a snapshot");
    }
}

fn open_bucket((db, _): &Fixture) {
    let txn = db.begin_read().expect("a snapshot");
    for _ in 0..TIMES {
        assert!(black_box(txn.bucket(BUCKET)).expect("a catalog").is_some());
    }
}

/// New entries at random places. The transaction is not committed.
fn put((db, shape): &Fixture) {
    let mut txn = db.begin_write().expect("nobody writes");
    let mut bucket = txn.bucket_mut(BUCKET).expect("the bucket");
    for (key, (_, value)) in shape.missing.iter().zip(&shape.entries).take(TIMES) {
        bucket.put(key, value).expect("memory");
    }
}

/// The transaction is not committed.
fn delete((db, shape): &Fixture) {
    let mut txn = db.begin_write().expect("nobody writes");
    let mut bucket = txn.bucket_mut(BUCKET).expect("the bucket");
    for (key, _) in &shape.entries[..TIMES] {
        assert!(bucket.delete(key).expect("sound pages"));
    }
}

#[library_benchmark]
#[bench::get(get, load(shapes::records(COUNT)))]
#[bench::get_many(get_many, load(shapes::records(COUNT)))]
#[bench::next(next, load(shapes::records(COUNT)))]
#[bench::next_back(next_back, load(shapes::records(COUNT)))]
#[bench::range(range, load(shapes::records(COUNT)))]
#[bench::begin_read(begin_read, load(shapes::records(COUNT)))]
#[bench::open_bucket(open_bucket, load(shapes::records(COUNT)))]
#[bench::put(put, load(shapes::records(COUNT)))]
#[bench::delete(delete, load(shapes::records(COUNT)))]
fn records(operation: Operation, fixture: Fixture) -> Fixture {
    operation(&fixture);
    fixture
}

#[library_benchmark]
#[bench::get(get, load(shapes::integers(COUNT)))]
#[bench::get_many(get_many, load(shapes::integers(COUNT)))]
#[bench::next(next, load(shapes::integers(COUNT)))]
#[bench::next_back(next_back, load(shapes::integers(COUNT)))]
#[bench::range(range, load(shapes::integers(COUNT)))]
#[bench::put(put, load(shapes::integers(COUNT)))]
#[bench::delete(delete, load(shapes::integers(COUNT)))]
fn integers(operation: Operation, fixture: Fixture) -> Fixture {
    operation(&fixture);
    fixture
}

#[library_benchmark]
#[bench::get(get, load(shapes::paths(COUNT)))]
#[bench::get_many(get_many, load(shapes::paths(COUNT)))]
#[bench::next(next, load(shapes::paths(COUNT)))]
#[bench::next_back(next_back, load(shapes::paths(COUNT)))]
#[bench::range(range, load(shapes::paths(COUNT)))]
#[bench::put(put, load(shapes::paths(COUNT)))]
#[bench::delete(delete, load(shapes::paths(COUNT)))]
fn paths(operation: Operation, fixture: Fixture) -> Fixture {
    operation(&fixture);
    fixture
}

library_benchmark_group!(name = operations, benchmarks = [records, integers, paths]);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // As criterion does: each once, and nothing is measured.
    if arguments.iter().any(|argument| argument == "--test") {
        for shape in [shapes::records, shapes::integers, shapes::paths] {
            let fixture = load(shape(COUNT));
            OPERATIONS.iter().for_each(|operation| operation(&fixture));
            println!("instructions, {}: each operation works", fixture.1.name);
        }
        return;
    }
    // Under valgrind this program is run once more for each count: then all is there.
    let is_counted = arguments.first().is_some_and(|argument| argument == "--gungraun-run");
    let missing = ["valgrind", option_env!("GUNGRAUN_RUNNER").unwrap_or("gungraun-runner")];
    if let Some(missing) = missing.into_iter().find(|program| !is_counted && !is_there(program)) {
        println!(
            "instructions: nothing is counted, since {missing} is missing: see the head of benches/instructions.rs"
        );
        return;
    }
    gungraun::main!(library_benchmark_groups = operations);
    main();
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).spawn().is_ok_and(|mut child| {
        // How it ends does not matter: it could be started.
        child.wait().is_ok()
    })
}
