//! What the benchmarks share: their data, and how long criterion measures.

use std::time::Duration;

use criterion::Criterion;
use folio::{Database, Result};

/// The bucket that the benchmarks work on.
pub const BUCKET: &str = "entries";

pub const KEY_LEN: usize = 24;
pub const VALUE_LEN: usize = 150;

pub type Entry = (Vec<u8>, Vec<u8>);

/// Entries in random order, the same for each run. Their keys are as good as certain to differ.
pub fn entries(count: usize) -> Vec<Entry> {
    let mut rng = fastrand::Rng::with_seed(count as u64);
    let mut bytes = |len| std::iter::repeat_with(|| rng.u8(..)).take(len).collect::<Vec<u8>>();
    (0..count).map(|_| (bytes(KEY_LEN), bytes(VALUE_LEN))).collect()
}

/// Puts entries in their order, in one transaction.
pub fn load(db: &Database, entries: &[Entry]) -> Result<()> {
    db.exec(|txn| {
        let mut bucket = txn.bucket_mut(BUCKET)?;
        entries.iter().try_for_each(|(key, value)| bucket.put(key, value))
    })
}

/// Off the clock: the database holds these entries and no others, and nothing is wrong with it.
pub fn assert_holds(db: &Database, entries: &[Entry]) {
    let txn = db.begin_read().expect("a snapshot");
    let bucket = txn.bucket(BUCKET).expect("a catalog").expect("the bucket");
    assert_eq!(bucket.len(), entries.len() as u64);
    for (key, value) in entries {
        assert_eq!(bucket.get(key).expect("a sound page"), Some(&value[..]));
    }
    let report = db.check().expect("a report");
    assert!(report.is_ok(), "{}", report.problems[0]);
}

/// Little time for each benchmark, so that all of a file take less than a minute. The command line may ask for more.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
        .configure_from_args()
}
