//! `folio tree`: how the tree of a bucket is built, a band for each level, the root on top.
//!
//! A page is as wide as its share of the entries and lies below its parent. Where a level has more pages than can be told
//! apart, the band is made of columns, each in the mean fill of the pages that lie there.

use std::io::{self, Write};
use std::path::PathBuf;

use folio::{Bucket, PageInfo, PageKind, ReadTxn};

use super::{DARK_SHADE, Place, Svg, cut, cut_shown, percent, shade};
use crate::failure::Failure;
use crate::open::{self, Wait};
use crate::table::grouped;
use crate::text::Form;
use crate::{output, progress};

/// More pages of a level than these are drawn as columns, of which there are as many.
const COLUMNS: usize = 400;
const PAGES_MAX: u64 = COLUMNS as u64;

/// So many buckets are drawn when none is named.
const BUCKETS_MAX: usize = 20;

const MARGIN: f64 = 24.0;
const BAND_LEFT: f64 = 176.0;
const BAND_WIDTH: f64 = 1200.0;
const BAND_HEIGHT: f64 = 74.0;
const BAND_STEP: f64 = 84.0;

/// How much of a column shows the emptiest page in it.
const LEAST_HEIGHT: f64 = 16.0;

const TOP: f64 = 130.0;
const HEADING: f64 = 54.0;

/// The width of a character of a key, and of the space around it.
const CHAR: f64 = 6.1;
const PADDING: f64 = 8.0;

/// Narrower pages say nothing; from the second width on there is room for a line across.
const UPRIGHT_MIN: f64 = 13.0;
const ACROSS_MIN: f64 = 60.0;

const HELP: &str = "A band is a level of the tree, the root on top. A page is as wide as its share of the entries and stands below its \
                    parent. It says the separator before it, with … for what all in its parent begin with.";
const COLUMNS_HELP: &str = "In a level of more than 400 pages a column stands for all that lie there: their mean fill, and below it \
                            that of the emptiest.";

/// Draw a picture of a bucket's tree, level by level
#[derive(clap::Args)]
#[command(after_help = "\
A page is as wide as its share of the entries, the darker the fuller, and says where its keys begin if there is
room. In a large tree a column stands for many pages. A browser says more about what is pointed at.

Examples: folio tree demo.folio names --out tree.svg
          folio tree demo.folio --out trees.svg")]
pub struct Args {
    /// The database
    pub file: PathBuf,
    /// The bucket [default: all of them, the first 20 at most]
    bucket: Option<String>,
    /// The SVG file to write; one that is there is replaced. /dev/stdout goes to a pipe
    #[arg(short, long, visible_alias = "output", value_name = "SVG")]
    out: PathBuf,
    #[command(flatten)]
    wait: Wait,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let database = open::reading(&args.file, args.wait)?;
    let page_size = database.stats()?.page_size;
    let txn = database.begin_read()?;
    let (names, more) = names(&txn, args)?;
    let trees = names.into_iter().map(|name| Ok(Picture::new(open::bucket(&txn, &name)?, name, page_size)));
    let spinner = progress::spinner();
    let trees = trees.collect::<Result<Vec<_>, Failure>>()?;
    spinner.finish_and_clear();
    output::replace(&args.out, &args.file, |file| draw(&trees, more, args, file))?;
    let drawn = args.out.display();
    if let Some((tree, problem)) = trees.iter().find_map(|tree| Some((tree, tree.problem.as_ref()?))) {
        let name = Form::Text.show(tree.name.as_bytes());
        let what = format!("bucket {name}: {problem}; {drawn} has what can be read");
        return Err(Failure::Unsound(what));
    }
    Ok(())
}

/// The buckets to be drawn, and how many are left out.
fn names(txn: &ReadTxn, args: &Args) -> Result<(Vec<String>, usize), Failure> {
    if let Some(name) = &args.bucket {
        return Ok((vec![name.clone()], 0));
    }
    let mut names = txn.buckets()?;
    let more = names.len().saturating_sub(BUCKETS_MAX);
    names.truncate(BUCKETS_MAX);
    Ok((names, more))
}

/// A part of the width of the tree, from 0 to 1.
#[derive(Clone, Copy)]
struct Share {
    from: f64,
    to: f64,
}

/// Where a page lies that the walk has yet to come to.
struct Expected {
    share: Share,
    level: usize,
    separator: Vec<u8>,
    /// How many bytes of the separator all separators beside it share.
    shared_len: usize,
}

/// A page that is drawn as itself.
struct Drawn {
    share: Share,
    /// 0 to 1; none if the page cannot be read.
    fill: Option<f64>,
    /// What may be written into it.
    key: String,
    /// What is written that fits, the longest first.
    figures: [String; 3],
    /// What is said when it is pointed at.
    said: String,
}

/// A part of a level that many pages may share.
#[derive(Clone, Copy, Default)]
struct Column {
    /// How many pages begin there.
    pages: u64,
    /// Of the column, how much is covered, and how much of that is in use.
    covered: f64,
    filled: f64,
    /// The fill of the emptiest page there.
    least: f64,
    has_damage: bool,
}

struct Level {
    pages: u64,
    used_bytes: u64,
    /// All pages while they are few enough, and none as soon as they are not.
    drawn: Vec<Drawn>,
    columns: Vec<Column>,
}

/// A tree, measured and ready to be drawn.
struct Picture {
    name: String,
    entries: u64,
    page_size: u32,
    large_values: u64,
    /// The leaves first.
    levels: Vec<Level>,
    /// The first thing that could not be read.
    problem: Option<folio::Error>,
}

impl Picture {
    fn new(bucket: Bucket<'_>, name: String, page_size: u32) -> Picture {
        let entries = bucket.len();
        let mut picture = Picture { name, entries, page_size, large_values: 0, levels: Vec::new(), problem: None };
        // The walk goes down first, so the pages that it owes are a stack.
        let mut expected: Vec<Expected> = Vec::new();
        for page in bucket.pages() {
            let root_level = page.as_ref().map_or(0, |page| page.level as usize);
            let place = expected.pop().unwrap_or_else(|| Expected::root(root_level));
            picture.levels.resize_with(picture.levels.len().max(place.level + 1), Level::new);
            match page {
                Ok(page) => picture.add(&page, place, &mut expected),
                Err(error) => picture.add_damaged(error, &place),
            }
        }
        picture
    }

    fn add(&mut self, page: &PageInfo, place: Expected, expected: &mut Vec<Expected>) {
        self.large_values += page.entries.iter().filter(|entry| entry.large_page.is_some()).count() as u64;
        let fill = page.used_bytes as f64 / f64::from(self.page_size);
        let level = &mut self.levels[place.level];
        level.used_bytes += page.used_bytes;
        level.add(place.share, Some(fill), || Drawn::new(page, &place, fill));
        expected.extend(children(page, &place).into_iter().rev());
    }

    fn add_damaged(&mut self, error: folio::Error, place: &Expected) {
        let said = format!("cannot be read: {error}");
        let drawn = || Drawn { share: place.share, fill: None, key: String::new(), figures: Default::default(), said };
        self.levels[place.level].add(place.share, None, drawn);
        self.problem.get_or_insert(error);
    }

    fn height(&self) -> f64 {
        HEADING + BAND_STEP * self.levels.len().max(1) as f64 + MARGIN
    }
}

impl Expected {
    fn root(level: usize) -> Expected {
        Expected { share: Share { from: 0.0, to: 1.0 }, level, separator: Vec::new(), shared_len: 0 }
    }
}

/// Shares out a branch among its children by what it says of their entries.
fn children(branch: &PageInfo, place: &Expected) -> Vec<Expected> {
    // A damaged file may claim any numbers, none at all included.
    let weight = |claimed: u64| claimed.max(1) as f64;
    let total: f64 = branch.children.iter().map(|child| weight(child.entry_count)).sum();
    let width = place.share.to - place.share.from;
    let shared_len = shared_len(branch);
    let mut from = place.share.from;
    let child = |child: &folio::ChildInfo| {
        let to = from + width * weight(child.entry_count) / total;
        let share = Share { from, to };
        from = to;
        let level = place.level.saturating_sub(1);
        Expected { share, level, separator: child.separator.clone(), shared_len }
    };
    branch.children.iter().map(child).collect()
}

/// What need not be repeated: the bytes that all separators of a branch begin with.
fn shared_len(branch: &PageInfo) -> usize {
    let separators = || branch.children.iter().skip(1).map(|child| &child.separator[..]);
    // They are sorted, so the first and the last differ soonest.
    match (separators().next(), separators().next_back()) {
        (Some(first), Some(last)) if first != last => first.iter().zip(last).take_while(|(a, b)| a == b).count(),
        _ => 0,
    }
}

impl Drawn {
    fn new(page: &PageInfo, place: &Expected, fill: f64) -> Drawn {
        let what = if page.kind == PageKind::Leaf { "entries" } else { "children" };
        let (number, entries, fill_shown) = (page.page, grouped(page.entry_count), percent(fill));
        let begins = match &place.separator[..] {
            [] => String::new(),
            separator => format!(", from {} on", cut(separator, 200)),
        };
        let said = format!("page {number}: {}, {entries} {what}, {fill_shown} full{begins}", page.kind);
        let shared_len = if place.shared_len > 3 { place.shared_len } else { 0 };
        let rest = cut(place.separator.get(shared_len..).unwrap_or_default(), 200);
        let key = if shared_len > 0 && !place.separator.is_empty() { format!("…{rest}") } else { rest };
        let figures = [
            format!("page {number}: {entries} {what}, {fill_shown}"),
            format!("{entries} {what}, {fill_shown}"),
            format!("{entries}, {fill_shown}"),
        ];
        Drawn { share: place.share, fill: Some(fill), key, figures, said }
    }
}

impl Level {
    fn new() -> Level {
        Level { pages: 0, used_bytes: 0, drawn: Vec::new(), columns: vec![Column::default(); COLUMNS] }
    }

    fn add(&mut self, share: Share, fill: Option<f64>, drawn: impl FnOnce() -> Drawn) {
        self.pages += 1;
        match self.pages {
            0..=PAGES_MAX => self.drawn.push(drawn()),
            _ => self.drawn = Vec::new(),
        }
        let (from, to) = (share.from * COLUMNS as f64, share.to * COLUMNS as f64);
        let first = (from as usize).min(COLUMNS - 1);
        let last = (to.ceil() as usize).clamp(first + 1, COLUMNS);
        self.columns[first].pages += 1;
        for (n, column) in self.columns.iter_mut().enumerate().take(last).skip(first) {
            let covered = to.min(n as f64 + 1.0) - from.max(n as f64);
            column.covered += covered;
            column.filled += covered * fill.unwrap_or(0.0);
            column.least =
                if column.covered > covered { column.least.min(fill.unwrap_or(0.0)) } else { fill.unwrap_or(0.0) };
            column.has_damage |= fill.is_none();
        }
    }
}

fn draw(trees: &[Picture], more: usize, args: &Args, out: impl Write) -> io::Result<()> {
    let height = TOP + trees.iter().map(Picture::height).sum::<f64>().max(BAND_STEP) + MARGIN;
    let file = args.file.display().to_string();
    let file = Form::Text.show(file.as_bytes());
    let mut svg = Svg::begin(out, &format!("Trees of {file}"), BAND_LEFT + BAND_WIDTH + MARGIN, height)?;
    svg.text("head", MARGIN, 42.0, &file)?;
    svg.text("soft", MARGIN, 66.0, HELP)?;
    svg.text("", MARGIN, 98.0, "fill")?;
    svg.shades(MARGIN + 24.0, 87.0)?;
    svg.swatch("unknown", [MARGIN + 290.0, 87.0, 14.0, 14.0])?;
    svg.text("soft", MARGIN + 310.0, 98.0, "cannot be read")?;
    svg.text("soft", MARGIN + 440.0, 98.0, COLUMNS_HELP)?;
    let mut y = TOP;
    for tree in trees {
        tree.draw(&mut svg, y)?;
        y += tree.height();
    }
    if trees.is_empty() {
        svg.text("", MARGIN, y, "no buckets")?;
    }
    if more > 0 {
        svg.text("soft", MARGIN, y, &format!("and {more} more buckets: name one to see it"))?;
    }
    svg.end()
}

impl Picture {
    fn draw(&self, svg: &mut Svg<impl Write>, top: f64) -> io::Result<()> {
        svg.group(&[("class", "tree")])?;
        svg.text("head", MARGIN, top + 20.0, &cut(self.name.as_bytes(), 80))?;
        svg.text("soft", MARGIN, top + 40.0, &self.figures())?;
        for (n, level) in self.levels.iter().enumerate().rev() {
            let y = top + HEADING + BAND_STEP * (self.levels.len() - 1 - n) as f64;
            let (number, pages) = (n.to_string(), level.pages.to_string());
            svg.group(&[("class", "level"), ("data-level", &number), ("data-pages", &pages)])?;
            self.draw_label(svg, n, level, y)?;
            if level.drawn.is_empty() {
                level.draw_columns(svg, y)?;
            } else {
                level.drawn.iter().try_for_each(|page| page.draw(svg, y))?;
            }
            svg.end_group()?;
        }
        svg.end_group()
    }

    fn figures(&self) -> String {
        let entries = grouped(self.entries);
        let large = match self.large_values {
            0 => String::new(),
            count => format!(", and {} large values", grouped(count)),
        };
        match self.levels.len() {
            0 => "empty: a tree of no pages".to_owned(),
            1 => format!("{entries} entries in a single leaf{large}"),
            levels => {
                let (leaves, branches) = self.levels.split_at(1);
                let pages = |levels: &[Level]| grouped(levels.iter().map(|level| level.pages).sum());
                let (leaves, branches) = (pages(leaves), pages(branches));
                format!("{entries} entries on {levels} levels; pages: {branches} branch, {leaves} leaf{large}")
            }
        }
    }

    fn draw_label(&self, svg: &mut Svg<impl Write>, n: usize, level: &Level, y: f64) -> io::Result<()> {
        let name = match n {
            0 => "leaves".to_owned(),
            n if n + 1 == self.levels.len() => "root".to_owned(),
            n => format!("branches, level {n}"),
        };
        svg.text("", MARGIN, y + 16.0, &name)?;
        let pages = if level.pages == 1 { "1 page".to_owned() } else { format!("{} pages", grouped(level.pages)) };
        svg.text("soft", MARGIN, y + 34.0, &pages)?;
        let bytes = level.pages * u64::from(self.page_size);
        svg.text("soft", MARGIN, y + 50.0, &format!("{} full", percent(level.used_bytes as f64 / bytes as f64)))?;
        if level.drawn.is_empty() {
            let each = level.pages as f64 / COLUMNS as f64;
            svg.text("soft", MARGIN, y + 66.0, &format!("{each:.1} pages a column"))?;
        }
        Ok(())
    }
}

fn place(share: Share, y: f64) -> Place {
    let (from, width) = (BAND_LEFT + BAND_WIDTH * share.from, BAND_WIDTH * (share.to - share.from));
    // A gap between neighbours, as long as it leaves something of them.
    [from, y, width - (width * 0.15).min(1.0), BAND_HEIGHT]
}

fn class(fill: Option<f64>) -> String {
    fill.map_or("unknown".to_owned(), |fill| format!("f{}", shade(fill)))
}

impl Drawn {
    fn draw(&self, svg: &mut Svg<impl Write>, y: f64) -> io::Result<()> {
        let place @ [x, _, width, _] = place(self.share, y);
        svg.pages(&class(self.fill), place, 1, &self.said)?;
        let is_dark = self.fill.is_none_or(|fill| shade(fill) >= DARK_SHADE);
        let light = if is_dark { " light" } else { "" };
        let chars = |room: f64| ((room - PADDING) / CHAR) as usize;
        if width >= ACROSS_MIN {
            let (class, x, chars) = (format!("key{light}"), x + PADDING / 2.0, chars(width));
            svg.text(&class, x, y + 15.0, &cut_shown(&self.key, chars))?;
            let fitting = self.figures.iter().find(|figures| figures.chars().count() <= chars);
            svg.text(&class, x, y + BAND_HEIGHT - 8.0, fitting.map_or("", String::as_str))?;
        } else if width >= UPRIGHT_MIN {
            let key = cut_shown(&self.key, chars(BAND_HEIGHT));
            svg.text_upwards(&format!("key{light}"), x + width / 2.0 + 3.5, y + BAND_HEIGHT - PADDING / 2.0, &key)?;
        }
        Ok(())
    }
}

impl Level {
    fn draw_columns(&self, svg: &mut Svg<impl Write>, y: f64) -> io::Result<()> {
        let width = BAND_WIDTH / COLUMNS as f64;
        for (n, column) in self.columns.iter().enumerate() {
            let fill = column.filled / column.covered.max(f64::MIN_POSITIVE);
            let class = class(Some(fill).filter(|_| !column.has_damage));
            let x = BAND_LEFT + n as f64 * width;
            let (mean, least) = (percent(fill), percent(column.least));
            let said = format!("{} pages, {mean} full, the emptiest {least}", grouped(column.pages));
            svg.pages(&class, [x, y, width, BAND_HEIGHT - LEAST_HEIGHT], column.pages, &said)?;
            let class = self::class(Some(column.least).filter(|_| !column.has_damage));
            svg.swatch(&class, [x, y + BAND_HEIGHT - LEAST_HEIGHT + 1.0, width, LEAST_HEIGHT - 1.0])?;
        }
        Ok(())
    }
}
