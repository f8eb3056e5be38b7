//! `.dump` and `.page`: pages as they lie in the file.

use std::io::Write;

use folio::{Bucket, Database, PageInfo, PageKind, PageRun};

use super::value::{self, Mode};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::table::{counted, grouped};

/// Prints the tree of a bucket, a page a line, each level further in.
pub fn dump(
    bucket: &Bucket<'_>,
    page_size: u32,
    mode: Mode,
    interrupt: &Interrupt,
    out: &mut impl Write,
) -> Result<(), Failure> {
    // The pages that come next, the next one last: their depth and the separators before them.
    let mut next = vec![(0, Vec::new())];
    let mut seen: u64 = 0;
    for page in bucket.pages() {
        interrupt.check(|| format!("{seen} pages"))?;
        seen += 1;
        let (depth, separator) = next.pop().unwrap_or_default();
        let from = if separator.is_empty() { String::new() } else { format!(" from {}", show(&separator, mode)) };
        write!(out, "{:indent$}", "", indent = depth * 2)?;
        match page {
            Ok(page) => {
                writeln!(out, "{}{from}: {}", name(&page), describe(&page, page_size, mode))?;
                next.extend(page.children.into_iter().rev().map(|child| (depth + 1, child.separator)));
            }
            Err(error) => writeln!(out, "{error}{from}")?,
        }
    }
    writeln!(out, "({seen} page{})", if seen == 1 { "" } else { "s" })?;
    Ok(())
}

/// Kind and number; a dirty page has no number yet.
fn name(page: &PageInfo) -> String {
    let dirty = if page.is_dirty { "dirty " } else { "" };
    format!("{dirty}{} {}", page.kind, page.page)
}

fn describe(page: &PageInfo, page_size: u32, mode: Mode) -> String {
    let mut parts = Vec::new();
    match page.kind {
        PageKind::Branch => {
            parts.push(format!("level {}", page.level));
            parts.push(counted(page.children.len() as u64, "child", "children"));
            let below = page.children.iter().fold(0, |sum: u64, child| sum.saturating_add(child.entry_count));
            parts.push(format!("{} below", counted(below, "entry", "entries")));
        }
        PageKind::Leaf => parts.push(counted(page.entry_count, "entry", "entries")),
        PageKind::SpaceLog => parts.push(counted(page.entry_count, "word", "words")),
        _ => {}
    }
    parts.push(format!(
        "{} bytes in use ({} %)",
        grouped(page.used_bytes),
        page.used_bytes * 100 / u64::from(page_size)
    ));
    if !page.is_dirty {
        parts.push(format!("born {}", page.born));
    }
    if let [first, .., last] = &page.entries[..] {
        parts.push(format!("{} to {}", show(&first.key, mode), show(&last.key, mode)));
    }
    parts.join(", ")
}

/// Prints what a page is used for as of the last commit, and what it holds.
pub fn page(
    database: &Database,
    no: u64,
    mode: Mode,
    interrupt: &Interrupt,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let Some(map) = database.page_map_until(|_, _| interrupt.flow())? else {
        return Err(Interrupt::failure("a part of the file"));
    };
    let Some(run) = map.find(no) else {
        return Err(Failure::NotFound(format!("no page {no}; the last one is {}", map.page_count().saturating_sub(1))));
    };
    writeln!(out, "page {no}: {}", describe_run(run))?;
    match run.kind {
        PageKind::Free | PageKind::Pending | PageKind::Large => return Ok(()),
        _ => {}
    }
    let Some(page) = database.begin_read()?.page_info(no)? else { return Ok(()) };
    match page.problem {
        Some(problem) => writeln!(out, "{problem}; .check says whether that is damage")?,
        None => writeln!(out, "{}", describe(&page, map.page_size(), mode))?,
    }
    contents(&page, mode, out)
}

fn describe_run(run: &PageRun) -> String {
    let owner = match (&run.bucket, run.kind) {
        (Some(bucket), _) => format!(" of bucket {}", value::typed(bucket.as_bytes())),
        (None, PageKind::Branch | PageKind::Leaf) => " of the catalog".to_owned(),
        _ => String::new(),
    };
    let last = run.first + run.count.saturating_sub(1);
    match (run.kind, run.count) {
        (PageKind::Large, _) => {
            let born = run.born.map_or_else(String::new, |born| format!(", born {born}"));
            let len = grouped(run.used_bytes);
            format!("large value{owner}, {len} bytes in pages {} to {last}{born}", run.first)
        }
        (kind, 1) => format!("{kind}{owner}"),
        (kind, _) => format!("{kind}{owner}, as all pages from {} to {last}", run.first),
    }
}

/// A line for each child or entry.
fn contents(page: &PageInfo, mode: Mode, out: &mut impl Write) -> Result<(), Failure> {
    for child in &page.children {
        let entries = counted(child.entry_count, "entry", "entries");
        match &child.separator[..] {
            [] => writeln!(out, "child {}: {entries}", child.page)?,
            separator => writeln!(out, "child {} from {}: {entries}", child.page, show(separator, mode))?,
        }
    }
    for entry in &page.entries {
        let at = entry.large_page.map_or_else(String::new, |page| format!(" from page {page} on"));
        writeln!(out, "{}: {} bytes{at}", show(&entry.key, mode), grouped(entry.value_len))?;
    }
    Ok(())
}

/// These are lines for people in every mode, so that JSON would only be harder to read.
fn show(key: &[u8], mode: Mode) -> String {
    value::show(key, if mode == Mode::Hex { Mode::Hex } else { Mode::Text })
}
