//! Floors: what this machine does at best, measured in the same run, so that a figure can be judged by its distance.
//!
//! A page touch is one read of eight bytes from a page of a mapped file that is in the page cache: a lookup touches at
//! least one page a level. Dependent: the next page is known only when this one has arrived, as in a descent.
//! Independent: the pages are known in advance, as in a batch. Each touch reads another line of the page than the one
//! before it, or the lines in use would fit into the processor's caches and the floor would be too low.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memmap2::Mmap;

use crate::data::words;
use crate::engine::Result;
use crate::worker::{Figure, Unit, Worker};
use crate::workload::{Effort, median, settle};

pub const NAMES: &[&str] =
    &["touch-dependent", "touch-independent", "copy", "read-mapped", "write-sync", "write-sync-twice", "new-file"];

const PAGE: usize = 4096;
const LINE: usize = 64;
/// Lines a page, and laps that the chase makes until it comes back to where it began.
const LAPS: usize = PAGE / LINE;
/// 300 MB.
const PAGES: usize = 300_000_000 / PAGE;
/// Bytes that are copied in memory, far more than the caches hold.
const COPY_LEN: usize = 64 << 20;
/// Bytes of a new file, and of one write to it.
const FILE_LEN: usize = 256 << 20;
const WRITE_LEN: usize = 1 << 20;
/// Writes of [`sync_now`].
const SYNCS_NOW: usize = 100;

pub struct Floors {
    dir: PathBuf,
    least: Duration,
    syncs: usize,
    map: Mmap,
    /// The pages in the order of the chase.
    order: Vec<u32>,
    /// A file of its own for the writes.
    written: File,
}

impl Floors {
    pub fn new(dir: &Path, effort: &Effort, seed: u64) -> Result<Floors> {
        let mut order: Vec<u32> = (0..PAGES as u32).collect();
        let mut random = fastrand::Rng::with_seed(seed);
        random.shuffle(&mut order);

        let path = dir.join("touched");
        write_chase(&path, &order)?;
        let file = File::open(&path)?;
        // SAFETY: the file is this process's own; nothing writes to it or cuts it from here on.
        let map = unsafe { Mmap::map(&file)? };

        let written = written_file(&dir.join("written"))?;
        Ok(Floors { dir: dir.to_owned(), least: effort.least, syncs: effort.syncs, map, order, written })
    }
}

/// The line of `page` that lap `lap` reads.
fn line_at(page: usize, lap: usize) -> usize {
    page * PAGE + (page * 37 + lap) % LAPS * LINE
}

/// Writes the file: the line that a lap reads in a page holds the position of the line to read next.
fn write_chase(path: &Path, order: &[u32]) -> Result<()> {
    let mut next = vec![0; order.len()];
    for (step, &page) in order.iter().enumerate() {
        next[page as usize] = order[(step + 1) % order.len()] as usize;
    }
    let last = order[order.len() - 1] as usize;
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut bytes = vec![0; PAGE];
    for (page, &next) in next.iter().enumerate() {
        for lap in 0..LAPS {
            let next_lap = if page == last { (lap + 1) % LAPS } else { lap };
            let target = line_at(next, next_lap) as u64;
            bytes[line_at(page, lap) - page * PAGE..][..8].copy_from_slice(&target.to_le_bytes());
        }
        file.write_all(&bytes)?;
    }
    file.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(())
}

/// A file whose blocks are written in advance, so that the measured writes only overwrite.
fn written_file(path: &Path) -> Result<File> {
    std::fs::write(path, vec![1; 16 << 20])?;
    let written = File::options().write(true).open(path)?;
    written.sync_all()?;
    Ok(written)
}

/// What a commit of one page takes with this many syncs, a page before each: the median of `count`, in microseconds.
fn write_sync(written: &File, writes: usize, count: usize, seed: u64) -> Result<f64> {
    let pages = written.metadata()?.len() / PAGE as u64;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut times = Vec::with_capacity(count);
    for sync in 0..count {
        let bytes = [sync as u8; PAGE];
        let start = Instant::now();
        for _ in 0..writes {
            let at = random.u64(..pages) * PAGE as u64;
            written.write_all_at(&bytes, at)?;
            written.sync_data()?;
        }
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(&mut times))
}

/// The pace of the disk at this moment, in microseconds a write of 4 KiB with its sync. The machine's others change it from one second to
/// the next, by more than engines differ.
pub fn sync_now(dir: &Path) -> Result<f64> {
    let path = dir.join("synced");
    let pace = write_sync(&written_file(&path)?, 1, SYNCS_NOW, 1)?;
    std::fs::remove_file(path)?;
    Ok(pace)
}

impl Floors {
    fn at(&self, at: usize) -> usize {
        let bytes: [u8; 8] = self.map[at..][..8].try_into().expect("eight bytes");
        u64::from_le_bytes(bytes) as usize
    }

    fn touch_dependent(&self) -> f64 {
        let mut at = line_at(self.order[0] as usize, 0);
        let mut touches = 0;
        let start = Instant::now();
        loop {
            for _ in 0..1024 {
                at = self.at(at);
            }
            touches += 1024;
            let elapsed = start.elapsed();
            if elapsed >= self.least {
                std::hint::black_box(at);
                return elapsed.as_nanos() as f64 / f64::from(touches);
            }
        }
    }

    fn touch_independent(&self) -> f64 {
        let mut sum = 0;
        let mut touches = 0;
        let start = Instant::now();
        for lap in (0..LAPS).cycle() {
            for pages in self.order.chunks(1024) {
                for &page in pages {
                    sum ^= self.at(line_at(page as usize, lap));
                }
                touches += pages.len();
                let elapsed = start.elapsed();
                if elapsed >= self.least {
                    std::hint::black_box(sum);
                    return elapsed.as_nanos() as f64 / touches as f64;
                }
            }
        }
        unreachable!("the laps have no end")
    }

    fn read_mapped(&self) -> f64 {
        let mut sum = 0u64;
        let mut bytes = 0;
        let start = Instant::now();
        loop {
            sum = sum.wrapping_add(words(&self.map));
            bytes += self.map.len();
            let elapsed = start.elapsed();
            if elapsed >= self.least {
                std::hint::black_box(sum);
                return bytes as f64 / elapsed.as_secs_f64() / 1e9;
            }
        }
    }

    fn copy(&self) -> f64 {
        let from = vec![1u8; COPY_LEN];
        let mut to = vec![2u8; COPY_LEN];
        let mut bytes = 0;
        let start = Instant::now();
        loop {
            to.copy_from_slice(std::hint::black_box(&from));
            std::hint::black_box(&mut to);
            bytes += COPY_LEN;
            let elapsed = start.elapsed();
            if elapsed >= self.least {
                return bytes as f64 / elapsed.as_secs_f64() / 1e9;
            }
        }
    }

    fn new_file(&self) -> Result<f64> {
        let path = self.dir.join("new");
        let bytes = vec![1; WRITE_LEN];
        settle(&self.dir)?;
        let start = Instant::now();
        let mut file = File::create(&path)?;
        for _ in 0..FILE_LEN / WRITE_LEN {
            file.write_all(&bytes)?;
        }
        file.sync_data()?;
        let elapsed = start.elapsed();
        std::fs::remove_file(path)?;
        Ok(FILE_LEN as f64 / elapsed.as_secs_f64() / 1e9)
    }
}

impl Worker for Floors {
    fn run(&mut self, name: &str, round: u64) -> Result<Vec<Figure>> {
        // Whatever ran since has pushed this map out of the processor's caches and its page tables; one pass brings
        // back the latter.
        std::hint::black_box(words(&self.map));
        Ok(vec![match name {
            "touch-dependent" => {
                Figure::new("page touch, dependent (300 MB mapped)", Unit::Nanoseconds, self.touch_dependent())
            }
            "touch-independent" => {
                Figure::new("page touch, independent (300 MB mapped)", Unit::Nanoseconds, self.touch_independent())
            }
            "copy" => Figure::new("memcpy of 64 MiB", Unit::Gigabytes, self.copy()),
            "read-mapped" => Figure::new("mapped sequential read", Unit::Gigabytes, self.read_mapped()),
            "write-sync" => Figure::new(
                "pwrite 4 KiB + fdatasync, median",
                Unit::Microseconds,
                write_sync(&self.written, 1, self.syncs, round)?,
            ),
            "write-sync-twice" => Figure::new(
                "the same twice, median",
                Unit::Microseconds,
                write_sync(&self.written, 2, self.syncs, round)?,
            ),
            "new-file" => Figure::new("new file of 256 MiB + fdatasync", Unit::Gigabytes, self.new_file()?),
            _ => return Err(format!("no floor is called {name}").into()),
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chase_visits_every_line_once() {
        let dir = tempfile::tempdir().unwrap();
        let order = [3, 0, 4, 1, 2];
        write_chase(&dir.path().join("chase"), &order).unwrap();
        let bytes = std::fs::read(dir.path().join("chase")).unwrap();
        let start = line_at(3, 0);
        let mut seen = std::collections::BTreeSet::new();
        let mut at = start;
        while seen.insert(at) {
            at = u64::from_le_bytes(bytes[at..][..8].try_into().unwrap()) as usize;
        }
        assert_eq!(at, start);
        assert_eq!(seen.len(), order.len() * LAPS);
    }
}
