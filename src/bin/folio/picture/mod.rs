//! Pictures of a database, as SVG: `folio map` and `folio tree`. What they share: the writing of SVG, colours and captions.

pub mod map;
pub mod tree;

use std::io::{self, Write};

use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

use crate::text::Form;

/// How many shades there are of a fill, from empty to full.
const SHADES: usize = 20;

/// The colours of an empty, a half full and a full page, in red, green and blue; shades lie between them.
const EMPTY_HALF_FULL: [[f64; 3]; 3] = [[235.0, 243.0, 251.0], [84.0, 158.0, 205.0], [8.0, 48.0, 107.0]];

/// From this shade on, what is written on it has to be white.
const DARK_SHADE: usize = 11;

const STYLE: &str = "\
text{font:12px system-ui,Helvetica,Arial,sans-serif;fill:#1b1b1f}\
.head{font-size:20px;font-weight:600}\
.soft{fill:#5c5c66}\
.key{font:10px ui-monospace,Menlo,Consolas,monospace}\
.light{fill:#fff}\
.paper{fill:#fff}\
.meta{fill:#1b1b1f}.space_log{fill:#9b4fc4}.branch{fill:#e8860c}.large{fill:#2f9e62}\
.pending{fill:#f2cf1d}.free{fill:#e4e4e8}.unknown{fill:#d62246}\
.dim{opacity:.22}\
";

/// The class of a page that is so full, from 0 to 1.
fn shade(fill: f64) -> usize {
    ((fill * SHADES as f64) as usize).min(SHADES - 1)
}

fn shade_colour(shade: usize) -> String {
    let along = shade as f64 / (SHADES - 1) as f64 * 2.0;
    let (from, part) = if along < 1.0 { (0, along) } else { (1, along - 1.0) };
    let mix = |n: usize| EMPTY_HALF_FULL[from][n] * (1.0 - part) + EMPTY_HALF_FULL[from + 1][n] * part;
    format!("#{:02x}{:02x}{:02x}", mix(0) as u8, mix(1) as u8, mix(2) as u8)
}

/// A part of a whole, for people.
fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

/// A key or a name that fits into `chars` characters, cut off if need be.
fn cut(bytes: &[u8], chars: usize) -> String {
    // No byte is shown in less than a fourth of a character.
    let shown = Form::Text.show(&bytes[..bytes.len().min(chars * 4)]);
    let more = if bytes.len() > chars * 4 { "…" } else { "" };
    cut_shown(&(shown + more), chars)
}

/// Cuts a text that has been made fit for people already.
fn cut_shown(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    text.chars().take(chars.saturating_sub(1)).chain(['…']).collect()
}

/// Writes a picture, element by element.
struct Svg<W> {
    xml: Writer<W>,
}

/// A rectangle: left, top, width, height.
type Place = [f64; 4];

impl<W: Write> Svg<W> {
    /// Begins a picture of this size on white paper.
    fn begin(out: W, title: &str, width: f64, height: f64) -> io::Result<Svg<W>> {
        let mut svg = Svg { xml: Writer::new(out) };
        let (width, height) = (number(width), number(height));
        let view = format!("0 0 {width} {height}");
        let root = BytesStart::new("svg").with_attributes([
            ("xmlns", "http://www.w3.org/2000/svg"),
            ("width", &*width),
            ("height", &*height),
            ("viewBox", &*view),
            ("xml:space", "preserve"),
        ]);
        svg.xml.write_event(Event::Start(root))?;
        svg.element("title", &[], title)?;
        let shades = (0..SHADES).map(|n| format!(".f{n}{{fill:{}}}", shade_colour(n)));
        svg.element("style", &[], &(STYLE.to_owned() + &shades.collect::<String>()))?;
        svg.empty("rect", &[("class", "paper"), ("width", "100%"), ("height", "100%")])?;
        Ok(svg)
    }

    fn end(mut self) -> io::Result<()> {
        self.xml.write_event(Event::End(BytesEnd::new("svg")))?;
        writeln!(self.xml.get_mut())
    }

    /// Begins a group, which `end_group` ends.
    fn group(&mut self, attributes: &[(&str, &str)]) -> io::Result<()> {
        let start = BytesStart::new("g").with_attributes(attributes.iter().copied());
        self.xml.write_event(Event::Start(start))?;
        writeln!(self.xml.get_mut())
    }

    fn end_group(&mut self) -> io::Result<()> {
        self.xml.write_event(Event::End(BytesEnd::new("g")))?;
        writeln!(self.xml.get_mut())
    }

    fn swatch(&mut self, class: &str, [x, y, width, height]: Place) -> io::Result<()> {
        let [x, y, width, height] = [x, y, width, height].map(number);
        self.empty("rect", &[("class", class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)])
    }

    /// A rectangle that stands for so many pages, with a text that appears when it is pointed at.
    fn pages(&mut self, class: &str, place: Place, pages: u64, said: &str) -> io::Result<()> {
        let [x, y, width, height] = place.map(number);
        let pages = pages.to_string();
        let said = xml_text(said);
        self.xml
            .create_element("rect")
            .with_attributes([
                ("class", class),
                ("x", &*x),
                ("y", &*y),
                ("width", &*width),
                ("height", &*height),
                ("data-pages", &*pages),
            ])
            .write_inner_content(|xml| {
                xml.create_element("title").write_text_content(BytesText::new(&said))?;
                Ok(())
            })?;
        writeln!(self.xml.get_mut())
    }

    fn text(&mut self, class: &str, x: f64, y: f64, said: &str) -> io::Result<()> {
        self.element("text", &[("class", class), ("x", &number(x)), ("y", &number(y))], said)
    }

    /// Text that ends at `x`.
    fn text_before(&mut self, class: &str, x: f64, y: f64, said: &str) -> io::Result<()> {
        let (x, y) = (number(x), number(y));
        self.element("text", &[("class", class), ("x", &x), ("y", &y), ("text-anchor", "end")], said)
    }

    /// Text that goes up from a point.
    fn text_upwards(&mut self, class: &str, x: f64, y: f64, said: &str) -> io::Result<()> {
        let place = format!("translate({} {}) rotate(-90)", number(x), number(y));
        self.element("text", &[("class", class), ("transform", &place)], said)
    }

    /// A row of all shades with what the lightest and the darkest mean, some 240 wide.
    fn shades(&mut self, x: f64, y: f64) -> io::Result<()> {
        let width = 140.0 / SHADES as f64;
        self.text_before("soft", x + 44.0, y + 11.0, "empty")?;
        for n in 0..SHADES {
            self.swatch(&format!("f{n}"), [x + 50.0 + width * n as f64, y, width, 14.0])?;
        }
        self.text("soft", x + 196.0, y + 11.0, "full")
    }

    fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) -> io::Result<()> {
        self.xml.create_element(name).with_attributes(attributes.iter().copied()).write_empty()?;
        writeln!(self.xml.get_mut())
    }

    fn element(&mut self, name: &str, attributes: &[(&str, &str)], said: &str) -> io::Result<()> {
        let said = xml_text(said);
        let element = self.xml.create_element(name).with_attributes(attributes.iter().copied());
        element.write_text_content(BytesText::new(&said))?;
        writeln!(self.xml.get_mut())
    }
}

/// A coordinate, to a hundredth.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// XML cannot have every character, not even as a reference. Which ones have a meaning in it, the writer sees to.
fn xml_text(text: &str) -> String {
    let allowed = |c: char| matches!(c, '\t' | '\n' | ' '..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if allowed(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_where_it_does_not_fit() {
        assert_eq!(cut(b"abc", 3), "abc");
        assert_eq!(cut(b"abcd", 3), "ab…");
        assert_eq!(cut(b"\0\0", 5), "\\x00…");
        assert_eq!(cut("ééééé".as_bytes(), 3), "éé…");
        assert_eq!(cut(&[b'x'; 10_000], 4), "xxx…");
        assert_eq!(cut(b"", 0), "");
    }

    #[test]
    fn every_fill_has_a_shade() {
        assert_eq!((shade(0.0), shade(0.55), shade(1.0), shade(7.0), shade(f64::NAN)), (0, 11, 19, 19, 0));
        assert_eq!((shade_colour(0), shade_colour(19)), ("#ebf3fb".to_owned(), "#08306b".to_owned()));
    }

    #[test]
    fn what_xml_cannot_have_is_replaced() {
        assert_eq!(xml_text("a<\u{0}\u{1b}\u{ffff}é😀"), "a<\u{fffd}\u{fffd}\u{fffd}é😀");
    }
}
