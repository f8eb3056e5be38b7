//! The corpora of the fuzz targets `operations` and `file`, on stable Rust. That of `page` is replayed by a unit test.

#[path = "../fuzz/src/file.rs"]
#[allow(dead_code)] // Its mutator is the fuzzer's.
mod file;
#[path = "../fuzz/src/input.rs"]
mod input;
#[path = "../fuzz/src/operations.rs"]
mod operations;

fn replay(target: &str, run: fn(&[u8])) {
    let directory = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(directory).expect("the corpus is in the repository") {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        run(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count >= 8, "{count} inputs");
}

#[test]
fn the_corpus_of_operations() {
    replay("operations", operations::run);
}

#[test]
fn the_corpus_of_files() {
    replay("file", file::run);
}
