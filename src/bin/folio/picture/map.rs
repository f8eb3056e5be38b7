//! `folio map`: the file page by page, in the order of the file, each page in the colour of its kind.
//!
//! Where a file has more pages than a picture has room for, a cell stands for several of them and shows their mix.

use std::io::{self, Write};
use std::path::PathBuf;

use folio::{PageKind, PageMap, PageRun, Stats};

use super::{Svg, percent, shade};
use crate::failure::Failure;
use crate::kinds::{self, Counts, KINDS};
use crate::open::{self, Wait};
use crate::table::grouped;
use crate::text::Form;
use crate::{output, progress};

/// The sides of a cell, from the largest; the first that leaves room for all pages is taken.
const CELL_SIDES: [f64; 4] = [64.0, 32.0, 16.0, 8.0];

/// The width of the field of cells, and its greatest height.
const FIELD: f64 = 1024.0;

const MARGIN: f64 = 24.0;
const FIELD_LEFT: f64 = 100.0;
const FIELD_TOP: f64 = 96.0;
const LEGEND_LEFT: f64 = FIELD_LEFT + FIELD + 32.0;
const LEGEND_WIDTH: f64 = 300.0;
const LEGEND_HEIGHT: f64 = 430.0;

/// Draw a picture of the file, page by page
#[derive(clap::Args)]
#[command(after_help = "\
Meta, space log, branch, leaf (the darker the fuller), large, pending and free pages, with a legend. In a large
file a cell stands for several pages and shows their mix. A browser says more about a cell that is pointed at.

Examples: folio map demo.folio --out map.svg
          folio map demo.folio --out names.svg --bucket names")]
pub struct Args {
    /// The database
    pub file: PathBuf,
    /// The SVG file to write; one that is there is replaced. /dev/stdout goes to a pipe
    #[arg(short, long, visible_alias = "output", value_name = "SVG")]
    out: PathBuf,
    /// Bring out the pages of this bucket, and fade the others
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let database = open::reading(&args.file, args.wait)?;
    if let Some(name) = &args.bucket {
        open::bucket(&database.begin_read()?, name)?;
    }
    let spinner = progress::spinner();
    let (stats, map) = (database.stats()?, database.page_map()?);
    spinner.finish_and_clear();
    let picture = Picture::new(&map, &stats, args);
    output::replace(&args.out, &args.file, |file| picture.draw(file))?;
    let unknown = picture.counts[kinds::index(PageKind::Unknown)];
    if unknown > 0 {
        let drawn = args.out.display();
        let what =
            format!("{} pages are damaged or unaccounted for, red in {drawn}; run folio check", grouped(unknown));
        return Err(Failure::Unsound(what));
    }
    Ok(())
}

/// Some pages in a row, of one kind or of several.
#[derive(Clone, Default)]
struct Cell {
    /// Pages to be brought out, and pages to be faded.
    bright: Counts,
    faded: Counts,
    /// The bytes in use in its leaves.
    leaf_bytes: u64,
    /// What there is to say about it if it is a single page.
    said: String,
}

struct Picture<'a> {
    args: &'a Args,
    stats: &'a Stats,
    page_count: u64,
    counts: Counts,
    pages_per_cell: u64,
    side: f64,
    cells: Vec<Cell>,
}

impl<'a> Picture<'a> {
    fn new(map: &PageMap, stats: &'a Stats, args: &'a Args) -> Picture<'a> {
        let page_count = map.page_count();
        let room = |side: f64| (FIELD / side) as u64 * (FIELD / side) as u64;
        let smallest = CELL_SIDES[CELL_SIDES.len() - 1];
        let side = CELL_SIDES.into_iter().find(|&side| page_count <= room(side)).unwrap_or(smallest);
        let pages_per_cell = page_count.div_ceil(room(side)).max(1).next_power_of_two();
        let cells = vec![Cell::default(); page_count.div_ceil(pages_per_cell) as usize];
        let counts = kinds::count(map);
        let mut picture = Picture { args, stats, page_count, counts, pages_per_cell, side, cells };
        map.runs().iter().for_each(|run| picture.add(run));
        picture
    }

    fn add(&mut self, run: &PageRun) {
        let is_bright = self.args.bucket.is_none() || run.bucket.as_deref() == self.args.bucket.as_deref();
        let end = run.first + run.count;
        let mut first = run.first;
        while first < end {
            let at = first / self.pages_per_cell;
            let until = end.min((at + 1) * self.pages_per_cell);
            let cell = &mut self.cells[at as usize];
            let counts = if is_bright { &mut cell.bright } else { &mut cell.faded };
            counts[kinds::index(run.kind)] += until - first;
            if run.kind == PageKind::Leaf {
                cell.leaf_bytes += run.used_bytes;
            }
            if self.pages_per_cell == 1 {
                cell.said = describe(run, first, self.stats.page_size);
            }
            first = until;
        }
    }

    fn columns(&self) -> usize {
        (FIELD / self.side) as usize
    }

    fn draw(&self, out: impl Write) -> io::Result<()> {
        let rows = self.cells.len().div_ceil(self.columns());
        let height = FIELD_TOP + (rows as f64 * self.side).max(LEGEND_HEIGHT) + MARGIN;
        let file = self.args.file.display().to_string();
        let file = Form::Text.show(file.as_bytes());
        let mut svg = Svg::begin(out, &format!("Pages of {file}"), LEGEND_LEFT + LEGEND_WIDTH + MARGIN, height)?;
        svg.text("head", MARGIN, 42.0, &file)?;
        svg.text("soft", MARGIN, 66.0, &self.figures())?;
        svg.group(&[("class", "cells")])?;
        for (n, cell) in self.cells.iter().enumerate() {
            self.draw_cell(&mut svg, n, cell)?;
        }
        svg.end_group()?;
        self.draw_page_numbers(&mut svg, rows)?;
        self.draw_legend(&mut svg)?;
        svg.end()
    }

    fn figures(&self) -> String {
        let Stats { page_size, file_len, txn_id, .. } = *self.stats;
        let room = file_len.saturating_sub(self.page_count * u64::from(page_size));
        format!(
            "{} bytes: {} pages of {} bytes, and {} bytes of room to grow; transaction {txn_id}",
            grouped(file_len),
            grouped(self.page_count),
            grouped(page_size.into()),
            grouped(room),
        )
    }

    /// The kinds in a cell one above the other, each as high as its share; whatever is there can be seen.
    fn draw_cell(&self, svg: &mut Svg<impl Write>, n: usize, cell: &Cell) -> io::Result<()> {
        let (column, row) = (n % self.columns(), n / self.columns());
        let (x, mut y) = (FIELD_LEFT + column as f64 * self.side, FIELD_TOP + row as f64 * self.side);
        // A gap between cells, and none between the kinds in one.
        let side = self.side - 1.0;
        let said = self.describe_cell(n, cell);
        let parts: Vec<(usize, u64, bool)> = cell.parts().collect();
        let total: u64 = parts.iter().map(|(_, pages, _)| pages).sum();
        let height = |pages: u64| (side * pages as f64 / total as f64).max((side / parts.len() as f64).min(1.0));
        let stretch = side / parts.iter().map(|&(_, pages, _)| height(pages)).sum::<f64>();
        for &(kind, pages, is_bright) in &parts {
            let height = height(pages) * stretch;
            svg.pages(&self.class(cell, kind, is_bright), [x, y, side, height], pages, &said)?;
            y += height;
        }
        if self.side >= 32.0 {
            self.label_cell(svg, n, cell, [x, y])?;
        }
        Ok(())
    }

    /// Writes into a cell, which is a page, above its lower left corner: the number; and what it is, if there is room.
    fn label_cell(&self, svg: &mut Svg<impl Write>, n: usize, cell: &Cell, [x, y]: [f64; 2]) -> io::Result<()> {
        let Some((kind, ..)) = cell.parts().next() else { return Ok(()) };
        let class = if self.is_dark(cell, KINDS[kind]) { "key light" } else { "key" };
        if self.side >= 64.0 {
            let what = match KINDS[kind] {
                PageKind::Leaf => format!("leaf {}", percent(self.fill(cell))),
                kind => kind.to_string(),
            };
            svg.text(class, x + 3.0, y - 17.0, &what)?;
        }
        svg.text(class, x + 3.0, y - 4.0, &n.to_string())
    }

    fn class(&self, cell: &Cell, kind: usize, is_bright: bool) -> String {
        let fill = if KINDS[kind] == PageKind::Leaf { format!(" f{}", shade(self.fill(cell))) } else { String::new() };
        let dim = if is_bright { "" } else { " dim" };
        kinds::key(KINDS[kind]) + &fill + dim
    }

    /// How full the leaves of a cell are.
    fn fill(&self, cell: &Cell) -> f64 {
        let leaf = kinds::index(PageKind::Leaf);
        let leaves = cell.bright[leaf] + cell.faded[leaf];
        cell.leaf_bytes as f64 / (leaves.max(1) * u64::from(self.stats.page_size)) as f64
    }

    fn is_dark(&self, cell: &Cell, kind: PageKind) -> bool {
        match kind {
            PageKind::Leaf => cell.faded == Counts::default() && shade(self.fill(cell)) >= super::DARK_SHADE,
            PageKind::Free | PageKind::Pending | PageKind::Branch => false,
            _ => cell.faded == Counts::default(),
        }
    }

    fn describe_cell(&self, n: usize, cell: &Cell) -> String {
        if self.pages_per_cell == 1 {
            return cell.said.clone();
        }
        let first = n as u64 * self.pages_per_cell;
        let last = (first + self.pages_per_cell).min(self.page_count) - 1;
        let counts = cell.bright.iter().zip(&cell.faded).map(|(bright, faded)| bright + faded).zip(KINDS);
        let mixed: Vec<String> = counts
            .filter(|(pages, _)| *pages > 0)
            .map(|(pages, kind)| match kind {
                PageKind::Leaf => format!("{pages} leaf, {} full", percent(self.fill(cell))),
                kind => format!("{pages} {kind}"),
            })
            .collect();
        format!("pages {first} to {last}: {}", mixed.join("; "))
    }

    /// Which page a row begins with, at every fourth or so.
    fn draw_page_numbers(&self, svg: &mut Svg<impl Write>, rows: usize) -> io::Result<()> {
        let step = (64.0 / self.side) as usize;
        for row in (0..rows).step_by(step) {
            let page = (row * self.columns()) as u64 * self.pages_per_cell;
            let y = FIELD_TOP + row as f64 * self.side + self.side.min(14.0) - 2.0;
            svg.text_before("key soft", FIELD_LEFT - 8.0, y, &grouped(page))?;
        }
        Ok(())
    }

    fn draw_legend(&self, svg: &mut Svg<impl Write>) -> io::Result<()> {
        let (x, end) = (LEGEND_LEFT, LEGEND_LEFT + LEGEND_WIDTH);
        let mut y = FIELD_TOP;
        svg.group(&[("class", "legend")])?;
        svg.text_before("soft", end - 70.0, y + 11.0, "pages")?;
        svg.text_before("soft", end, y + 11.0, "of all")?;
        for (kind, pages) in KINDS.into_iter().zip(self.counts) {
            y += 22.0;
            let class = if kind == PageKind::Leaf { "leaf f13".to_owned() } else { kinds::key(kind) };
            svg.swatch(&class, [x, y, 14.0, 14.0])?;
            svg.text("", x + 22.0, y + 11.0, &kind.to_string())?;
            svg.text_before("", end - 70.0, y + 11.0, &grouped(pages))?;
            let share = format!("{:.1} %", pages as f64 / self.page_count.max(1) as f64 * 100.0);
            svg.text_before("", end, y + 11.0, &share)?;
        }
        y += 34.0;
        svg.text("", x, y + 11.0, "leaf")?;
        svg.shades(x + 22.0, y)?;
        y += 34.0;
        for line in self.reading_help() {
            svg.text("soft", x, y + 11.0, &line)?;
            y += 18.0;
        }
        svg.end_group()
    }

    fn reading_help(&self) -> Vec<String> {
        let mut lines = vec![
            "In the order of the file: rows from left to".to_owned(),
            "right, numbered by their first page.".to_owned(),
            String::new(),
        ];
        if self.pages_per_cell == 1 {
            lines.push("A cell is a page.".to_owned());
        } else {
            lines.push(format!("A cell is {} pages: the kinds among them one", grouped(self.pages_per_cell)));
            lines.push("above the other, by their share; leaves in the".to_owned());
            lines.push("shade of their mean fill.".to_owned());
        }
        if let Some(bucket) = &self.args.bucket {
            lines.push(String::new());
            lines.push(format!("Bright: bucket {}", super::cut(bucket.as_bytes(), 32)));
        }
        lines
    }
}

impl Cell {
    /// The kinds that it has: which, how many pages, and whether they are to be brought out.
    fn parts(&self) -> impl Iterator<Item = (usize, u64, bool)> {
        let bright = self.bright.iter().enumerate().map(|(kind, &pages)| (kind, pages, true));
        let faded = self.faded.iter().enumerate().map(|(kind, &pages)| (kind, pages, false));
        bright.chain(faded).filter(|(_, pages, _)| *pages > 0)
    }
}

fn describe(run: &PageRun, page: u64, page_size: u32) -> String {
    let mut said = format!("page {page}: {}", run.kind);
    if matches!(run.kind, PageKind::Leaf | PageKind::Branch) {
        let fill = percent(run.used_bytes as f64 / f64::from(page_size));
        let what = if run.kind == PageKind::Leaf { "entries" } else { "children" };
        said += &format!(", {} {what}, {fill} full", grouped(run.entry_count));
    }
    if let Some(born) = run.born {
        said += &format!(", born in transaction {born}");
    }
    match (&run.bucket, run.kind) {
        (Some(bucket), _) => said + ", bucket " + &super::cut(bucket.as_bytes(), 80),
        (None, PageKind::Leaf | PageKind::Branch) => said + ", of the catalog",
        (None, _) => said,
    }
}
