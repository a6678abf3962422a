//! Colours, and the style sheet that carries them.

use std::fmt::Write;

/// The ground a picture is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Theme {
    /// Dark ink on white.
    Light,
    /// Light ink on near-black.
    Dark,
}

/// Number of hues; later series repeat them with another dash.
pub(crate) const HUES: usize = 8;
/// Steps of the colour scale of heat maps.
pub(crate) const SHADES: usize = 64;
/// Class of the root element: the rules apply only below it, so that a page can hold figures.
pub(crate) const ROOT: &str = "thalweg";

/// The hues of Okabe and Ito (2008), distinct to colour-blind readers, without black and yellow
/// and darkened where white ground needs it; for the dark ground the same hues, lightened.
const SERIES: [[&str; HUES]; 2] = [
    ["#0072b2", "#d55e00", "#009e73", "#b8589a", "#c48a00", "#45a5de", "#56606b", "#7d1d4f"],
    ["#4c9fe6", "#f5843f", "#2cc08f", "#e79cc8", "#f0bb45", "#8fd6ff", "#b4bcc6", "#c9628f"],
];

/// Anchors of the colour scale of heat maps: viridis (Smith and van der Walt, 2015).
const VIRIDIS: [u32; 9] =
    [0x440154, 0x472d7b, 0x3b528b, 0x2c728e, 0x21918c, 0x28ae80, 0x5ec962, 0xaddc30, 0xfde725];

/// Anchors of the landscape scale, low to high: calm enough to draw paths on.
const LANDSCAPE: [[u32; 4]; 2] =
    [[0xfbfcfd, 0xdfe9f1, 0xb7cbdc, 0x8aa6bf], [0x14181d, 0x1e2a37, 0x2c4156, 0x43617e]];

struct Ink {
    paper: &'static str,
    ink: &'static str,
    muted: &'static str,
    grid: &'static str,
}

const INK: [Ink; 2] = [
    Ink { paper: "#ffffff", ink: "#1b1f24", muted: "#5b6570", grid: "#e7eaee" },
    Ink { paper: "#14181d", ink: "#e8ebef", muted: "#9aa5b1", grid: "#2a3038" },
];

/// Colour at `t` in 0..=1 on a scale given by equidistant anchors.
fn blend(anchors: &[u32], t: f64) -> String {
    let at = t * (anchors.len() - 1) as f64;
    let (i, f) = ((at as usize).min(anchors.len() - 2), at - (at as usize).min(anchors.len() - 2) as f64);
    let mut out = String::from("#");
    for shift in [16, 8, 0] {
        let channel = |c: u32| f64::from(c >> shift & 255);
        let v = channel(anchors[i]) * (1.0 - f) + channel(anchors[i + 1]) * f;
        let _ = write!(out, "{:02x}", v.round() as u8);
    }
    out
}

/// One declaration of the style sheet: class, property, value.
pub(crate) type Rule = (String, &'static str, String);

/// The rules that name a colour, for one theme.
fn colours(theme: Theme) -> Vec<Rule> {
    let Ink { paper, ink, muted, grid } = &INK[theme as usize];
    let named = [
        ("paper", "fill", paper),
        ("ink", "fill", ink),
        ("muted", "fill", muted),
        ("grid", "stroke", grid),
        ("axis", "stroke", muted),
        ("whisker", "stroke", ink),
        ("halo", "stroke", paper),
        ("level", "stroke", muted),
        ("start", "fill", paper),
        ("end", "stroke", paper),
    ];
    let mut rules: Vec<Rule> =
        named.map(|(class, property, c)| (class.into(), property, c.to_string())).into();
    for (i, c) in SERIES[theme as usize].iter().enumerate() {
        rules.push((format!("s{i}"), "stroke", c.to_string()));
        rules.push((format!("f{i}"), "fill", c.to_string()));
    }
    for i in 0..SHADES {
        let t = i as f64 / (SHADES - 1) as f64;
        rules.push((format!("l{i}"), "fill", blend(&LANDSCAPE[theme as usize], t)));
    }
    rules
}

/// The rules that do not depend on the theme.
fn shapes() -> Vec<Rule> {
    let named = [
        ("bold", "font-weight", "600"),
        ("curve", "stroke-width", "2"),
        ("thin", "stroke-width", "1.25"),
        ("whisker", "stroke-width", "1.25"),
        ("leader", "stroke-opacity", "0.5"),
        ("halo", "stroke-width", "4.5"),
        ("halo", "stroke-opacity", "0.7"),
        ("level", "stroke-width", "0.75"),
        ("level", "stroke-opacity", "0.25"),
        ("start", "stroke-width", "2"),
        ("end", "stroke-width", "1.5"),
        ("soft", "fill-opacity", "0.16"),
        ("half", "fill-opacity", "0.3"),
        ("dot", "fill-opacity", "0.7"),
        ("cell", "shape-rendering", "crispEdges"),
        ("d1", "stroke-dasharray", "8 5"),
        ("d2", "stroke-dasharray", "1 4.5"),
    ];
    let mut rules: Vec<Rule> = named.map(|(class, property, v)| (class.into(), property, v.into())).into();
    for i in 0..SHADES {
        let t = i as f64 / (SHADES - 1) as f64;
        rules.push((format!("v{i}"), "fill", blend(&VIRIDIS, t)));
    }
    rules
}

/// All rules for one theme; later ones win.
pub(crate) fn rules(theme: Theme) -> Vec<Rule> {
    [shapes(), colours(theme)].concat()
}

fn css(rules: &[Rule]) -> String {
    rules.iter().map(|(class, property, value)| format!(".{ROOT} .{class}{{{property}:{value}}}")).collect()
}

/// The style sheet for one theme.
pub(crate) fn sheet(theme: Theme) -> String {
    format!(
        ".{ROOT} text{{font-family:system-ui,sans-serif}}\
         .{ROOT} path{{fill:none;fill-rule:evenodd;stroke-linejoin:round;stroke-linecap:round}}{}",
        css(&rules(theme))
    )
}

/// The style sheet that follows the reader's preference.
pub(crate) fn adaptive_sheet() -> String {
    let dark = css(&colours(Theme::Dark));
    format!("{}@media (prefers-color-scheme:dark){{{dark}}}", sheet(Theme::Light))
}
