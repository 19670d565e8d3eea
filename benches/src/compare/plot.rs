//! Bars of a comparison as an SVG, without anything from elsewhere. Pure.

use std::fmt::Write;

/// One group of bars: what was measured, and each contender with its median, least and most.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
}

/// One bar.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

const WIDTH: f64 = 760.0;
const LABEL: f64 = 90.0;
const ROW: f64 = 22.0;
const HEAD: f64 = 34.0;
const FOOT: f64 = 26.0;

/// Horizontal bars, one group under another; whiskers reach from the least to the most.
pub(super) fn svg(groups: &[Group], unit: &str, note: &str) -> String {
    let rows: usize = groups.iter().map(|group| group.bars.len()).sum();
    let height = rows as f64 * ROW + groups.len() as f64 * HEAD + FOOT;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let mut y = 0.0;
    for group in groups {
        let most = group.bars.iter().map(|bar| bar.most).fold(0.0, f64::max);
        text(&mut out, 8.0, y + 22.0, &group.title, "bold");
        y += HEAD;
        for bar in &group.bars {
            row(&mut out, y, bar, most.max(f64::MIN_POSITIVE), unit);
            y += ROW;
        }
    }
    text(&mut out, 8.0, height - 8.0, note, "normal");
    out.push_str("</svg>\n");
    out
}

fn row(out: &mut String, y: f64, bar: &Bar, most: f64, unit: &str) {
    let scale = (WIDTH - LABEL - 130.0) / most;
    let fill = if bar.name == "heddle" {
        "#1f6feb"
    } else {
        "#9aa4b2"
    };
    let (width, least, end) = (bar.median * scale, bar.least * scale, bar.most * scale);
    let middle = y + ROW / 2.0;
    text(out, 8.0, middle + 4.0, &bar.name, "normal");
    // Writing into a String does not fail.
    let _ = writeln!(
        out,
        "<rect x=\"{LABEL}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"14\" fill=\"{fill}\"/>\n\
         <line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" stroke=\"#24292f\"/>",
        y + 4.0,
        LABEL + least,
        LABEL + end,
    );
    text(
        out,
        LABEL + end + 8.0,
        middle + 4.0,
        &format!("{:.1} {unit}", bar.median),
        "normal",
    );
}

fn text(out: &mut String, x: f64, y: f64, words: &str, weight: &str) {
    let words = words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"{weight}\" fill=\"#24292f\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_to_scale_and_words_are_escaped() {
        let bar = |name: &str, median| Bar {
            name: name.to_owned(),
            median,
            least: median,
            most: median,
        };
        let groups = [Group {
            title: "a < b".to_owned(),
            bars: vec![bar("heddle", 10.0), bar("other", 20.0)],
        }];
        let svg = svg(&groups, "s", "note");
        assert!(svg.contains("a &lt; b") && svg.contains("10.0 s"), "{svg}");
        let widths: Vec<f64> = svg
            .split("width=\"")
            .skip(2)
            .filter_map(|rest| rest.split('"').next()?.parse().ok())
            .collect();
        assert!((widths[1] / widths[0] - 2.0).abs() < 0.01, "{widths:?}");
    }
}
