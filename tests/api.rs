//! Every promise of the README, one test each.

use folio::{Database, Durability, Error, Options, Result};

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn assert_sound(db: &Database) {
    let report = db.check().unwrap();
    assert!(report.is_ok(), "{:#?}", report.problems);
}

#[test]
fn what_is_committed_is_there_after_a_reopen() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    for page_size in [4096, 8192, 16384, 32768, 65536] {
        let path = path.with_extension(page_size.to_string());
        let db = Options::new().page_size(page_size).open(&path)?;
        for round in 0..50u32 {
            db.exec(|txn| {
                let mut a = txn.bucket_mut("a")?;
                for n in 0..40u32 {
                    a.put((n * 50 + round).to_be_bytes(), round.to_be_bytes())?;
                }
                a.put(format!("large {round}"), vec![round as u8; 70_000])?;
                if round > 3 {
                    assert!(a.delete(format!("large {}", round - 3))?);
                }
                txn.bucket_mut("b")?.put("round", round.to_string())
            })?;
            assert_sound(&db);
        }
        drop(db);
        let db = Database::open(&path)?;
        assert_sound(&db);
        let txn = db.begin_read()?;
        let a = txn.bucket("a")?.unwrap();
        assert_eq!(a.len(), 2004);
        for n in 0..2000u32 {
            assert_eq!(a.get(n.to_be_bytes())?, Some(&(n % 50).to_be_bytes()[..]));
        }
        assert_eq!(a.get("large 49")?.map(<[u8]>::len), Some(70_000));
        assert_eq!(txn.bucket("b")?.unwrap().get("round")?, Some(&b"49"[..]));
        assert_eq!(txn.buckets()?, ["a", "b"]);
    }
    Ok(())
}

#[test]
fn relaxed_commits_survive_a_close() -> Result<()> {
    let dir = temp();
    let path = dir.path().join("a.folio");
    let db = Options::new().durability(Durability::Relaxed).open(&path)?;
    for n in 0..300u32 {
        db.exec(|txn| txn.bucket_mut("a")?.put(n.to_be_bytes(), [7; 500]))?;
    }
    assert_sound(&db);
    drop(db);
    let db = Database::open(&path)?;
    assert_eq!(db.begin_read()?.bucket("a")?.unwrap().len(), 300);
    assert_sound(&db);
    db.exec(|txn| txn.bucket_mut("a")?.put("more", ""))?;
    assert_sound(&db);
    Ok(())
}

#[test]
fn an_aborted_transaction_leaves_nothing() -> Result<()> {
    let db = Database::in_memory()?;
    db.exec(|txn| txn.bucket_mut("a")?.put("k", "v"))?;
    let result: Result<()> = db.exec(|txn| {
        txn.bucket_mut("b")?.put("k", vec![1; 100_000])?;
        txn.bucket_mut("a")?.delete("k")?;
        Err(Error::other("no"))
    });
    assert!(matches!(result, Err(Error::Other(_))));
    let txn = db.begin_read()?;
    assert_eq!(txn.buckets()?, ["a"]);
    assert_eq!(txn.bucket("a")?.unwrap().get("k")?, Some(&b"v"[..]));
    drop(txn);
    assert_sound(&db);
    Ok(())
}
