//! Figures and reports from the outside: well-formed, escaped, with gaps, whatever the numbers.

use proptest::prelude::*;
use roxmltree::Document;
use thalweg_plot::{Figure, PlotError, Report, Table, Theme};

/// The elements with this tag and a class that begins so.
fn classes<'a>(doc: &'a Document<'_>, tag: &str, class: &str) -> Vec<&'a str> {
    let found = doc.descendants().filter(|n| n.has_tag_name(("http://www.w3.org/2000/svg", tag)));
    found.filter_map(|n| n.attribute("class").filter(|c| c.starts_with(class))).collect()
}

fn texts(doc: &Document<'_>) -> Vec<String> {
    doc.descendants().filter(|n| n.is_text()).filter_map(|n| n.text()).map(Into::into).collect()
}

#[test]
fn text_is_escaped_and_comes_back() {
    let name = "a<b> & \"c\" \u{1}";
    let svg = Figure::new(name).x_label(name).line(name, &[(0.0, 1.0), (1.0, 2.0)]).svg();
    let doc = Document::parse(&svg).unwrap();
    let shown = texts(&doc).iter().filter(|t| *t == "a<b> & \"c\" \u{fffd}").count();
    assert_eq!(shown, 3);
}

#[test]
fn values_that_cannot_be_drawn_break_the_line() {
    let at = |y: [f64; 5]| -> Vec<(f64, f64)> { (0..5).map(|i| (i as f64, y[i])).collect() };
    let curves = |f: Figure| {
        let svg = f.svg();
        let doc = Document::parse(&svg).unwrap();
        // The mark in the legend is a curve, too.
        classes(&doc, "path", "curve").len() - 1
    };
    assert_eq!(curves(Figure::new("").line("a", &at([1.0, 2.0, 3.0, 4.0, 5.0]))), 1);
    assert_eq!(curves(Figure::new("").line("a", &at([1.0, 2.0, f64::NAN, 4.0, 5.0]))), 2);
    assert_eq!(curves(Figure::new("").log_y().line("a", &at([1.0, 2.0, -1.0, 4.0, 5.0]))), 2);
}

#[test]
fn a_name_keeps_its_colour() {
    let points = [(0.0, 1.0), (1.0, 2.0)];
    let svg = Figure::new("")
        .names(&["x", "y", "z"])
        .line("z", &points)
        .line("x", &points)
        .line("z", &points)
        .svg();
    let doc = Document::parse(&svg).unwrap();
    let drawn = classes(&doc, "path", "curve");
    assert_eq!(drawn[..3], ["curve s2 d0", "curve s0 d0", "curve s2 d0"]);
    assert_eq!(drawn.len(), 3 + 2, "one legend mark per name with data");
}

#[test]
fn an_empty_figure_says_so() {
    for f in [Figure::new("t"), Figure::new("t").line("a", &[]), Figure::new("t").bars("a", &[])] {
        assert!(texts(&Document::parse(&f.svg()).unwrap()).contains(&"no data".into()));
        f.png(Theme::Dark, 1.0).unwrap();
    }
}

#[test]
fn png_has_signature_and_size() {
    let f = Figure::new("Title").line("a", &[(0.0, 1.0), (1.0, 2.0)]).size(400.0, 300.0);
    let png = f.png(Theme::Light, 2.0).unwrap();
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    assert_eq!(png[16..24], [0, 0, 800u32.to_be_bytes()[2], 800u32.to_be_bytes()[3], 0, 0, 2, 88]);
    assert_ne!(png, f.png(Theme::Dark, 2.0).unwrap());
    for scale in [0.0, -1.0, f64::NAN, 1e9] {
        assert!(matches!(f.png(Theme::Light, scale), Err(PlotError::Scale(_))));
    }
}

#[test]
fn save_goes_by_extension_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let f = Figure::new("t").line("a", &[(0.0, 1.0)]);
    f.save(&folder.path().join("a.svg")).unwrap();
    f.save(&folder.path().join("a.PNG")).unwrap();
    let odd = f.save(&folder.path().join("a.gif")).unwrap_err();
    assert!(odd.to_string().contains("a.gif"), "{odd}");
    let lost = f.save(&folder.path().join("missing/a.svg")).unwrap_err();
    assert!(lost.to_string().contains("missing"), "{lost}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn histograms_count_every_value_once() {
    let values: Vec<f64> = (0..100).map(f64::from).collect();
    let svg = Figure::new("").y_range(0.0, 10.0).histogram("a", &values, 10).svg();
    let doc = Document::parse(&svg).unwrap();
    // All ten cells hold ten values: the outline runs along the top of the frame.
    let outline = doc.descendants().find(|n| n.attribute("class") == Some("curve thin s0 d0")).unwrap();
    let numbers = outline.attribute("d").unwrap().split(['M', 'L', ' ']).filter(|v| !v.is_empty());
    assert_eq!(numbers.skip(1).step_by(2).filter(|y| *y == "3").count(), 20);
}

#[test]
fn contours_fill_the_superlevel_sets() {
    // A cone: every level is one closed ring.
    let svg = Figure::new("").contours((-1.0, 1.0), (-1.0, 1.0), 5, |x, y| 1.5 - x.hypot(y)).svg();
    let doc = Document::parse(&svg).unwrap();
    let levels: Vec<_> =
        doc.descendants().filter(|n| n.attribute("class").is_some_and(|c| c.starts_with("level"))).collect();
    assert_eq!(levels.len(), 5);
    assert_eq!(levels[4].attribute("d").unwrap().matches('Z').count(), 1);
}

#[test]
fn tables_align_and_mark_the_best() {
    let mut t = Table::new(["method", "loss"]);
    t.row(["sgd", "0.5"]).row(["adahessian", "12.25"]).highlight(1, true);
    assert_eq!(t.text(), "method       loss\n─────────────────\nsgd           0.5*\nadahessian  12.25\n");
}

#[test]
fn the_report_is_one_well_formed_file() {
    let mut report = Report::new("R & D");
    report.lead("First.\n\nSecond <b>.");
    let mut table = Table::new(["a", "b"]);
    table.row(["x", "1"]);
    for i in 0..3 {
        let figure = Figure::new("f").line("a", &[(0.0, 1.0), (1.0, 2.0)]);
        report.section(format!("S{i}")).text("t").table(&table).figure(&figure, "c").code("a < b");
    }
    let html = report.html();
    let body = html.strip_prefix("<!DOCTYPE html>\n").unwrap();
    let doc = Document::parse(body).unwrap();
    assert_eq!(doc.descendants().filter(|n| n.has_tag_name("section")).count(), 3);
    assert_eq!(doc.descendants().filter(|n| n.has_tag_name("nav")).count(), 1);
    assert_eq!(html.matches("<style>").count(), 1);
    for outside in ["src=", "href=\"http", "url(", "<script", "@import"] {
        assert!(!html.contains(outside), "{outside}");
    }
}

/// Any number, the awkward ones often.
fn any_value() -> impl Strategy<Value = f64> {
    const AWKWARD: &[f64] =
        &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 5e-324, 1e300, f64::MAX, f64::MIN, 1.0];
    prop_oneof![any::<f64>(), proptest::sample::select(AWKWARD), -10.0..10.0f64]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_numbers_break_a_figure(
        points in proptest::collection::vec((any_value(), any_value(), any_value()), 0..30),
        (log_x, log_y, range) in (any::<bool>(), any::<bool>(), proptest::option::of((any_value(), any_value()))),
        name in ".{0,40}",
    ) {
        let pairs: Vec<_> = points.iter().map(|p| (p.0, p.1)).collect();
        let values: Vec<_> = points.iter().map(|p| p.2).collect();
        let labelled: Vec<_> = points.iter().map(|p| (name.clone(), p.0, p.1)).collect();
        let axes = |f: Figure| {
            let f = if log_x { f.log_x() } else { f };
            let f = if log_y { f.log_y().log_colour() } else { f };
            if let Some((a, b)) = range { f.x_range(a, b).y_range(b, a) } else { f }
        };
        let new = || axes(Figure::new(name.clone()).x_label(&name).size(320.0, 240.0));
        let figures = [
            new().line(&name, &pairs).band(&name, &points).scatter("s", &pairs).path("p", &pairs),
            new().histogram(&name, &values, 7),
            new().bars(&name, &labelled).bars("b", &labelled),
            new().heat_map((-1.0, 1.0), (0.0, 1.0), 3, 5, &values).path("p", &pairs),
            new().contours((-1.0, 1.0), (-1.0, 1.0), 4, |x, y| x / y * values.first().unwrap_or(&1.0)),
        ];
        for f in figures {
            let svg = f.svg();
            prop_assert!(Document::parse(&svg).is_ok(), "{svg}");
            prop_assert!(!svg.contains("NaN") || name.contains("NaN"));
            f.png(Theme::Dark, 0.5).unwrap();
        }
    }
}
