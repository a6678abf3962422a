//! Tables written in random dialects are read back.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use thalweg_data::{Header, Table, TableOptions};

/// A way to write a table.
#[derive(Clone, Debug)]
struct Dialect {
    separator: &'static str,
    comma: bool,
    end: &'static str,
    header: bool,
    index: bool,
    quoted: bool,
    bom: bool,
    blanks: bool,
    last_end: bool,
    comment: bool,
    mark: &'static str,
}

fn dialects() -> impl Strategy<Value = Dialect> {
    let separator = prop::sample::select(vec![",", ";", "\t", "|", " ", "   "]);
    let end = prop::sample::select(vec!["\n", "\r\n"]);
    let mark = prop::sample::select(vec!["NA", "NaN", "nan", "null", "?", "n/a", "", "<NA>"]);
    let flags = (any::<[bool; 8]>(), separator, end, mark);
    flags.prop_map(
        |([comma, header, index, quoted, bom, blanks, last_end, comment], separator, end, mark)| {
            let wide = separator.starts_with(' ');
            Dialect {
                separator,
                comma: comma && separator == ";",
                end,
                header,
                index: index && header,
                quoted,
                bom,
                blanks: blanks && !wide && separator != "\t",
                last_end,
                comment: comment && header,
                // Nothing is no cell between blanks.
                mark: if wide && mark.is_empty() { "NA" } else { mark },
            }
        },
    )
}

fn written(d: &Dialect, names: &[String], rows: &[Vec<Option<f64>>]) -> String {
    let cell = |text: &str| {
        let text = if d.quoted { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() };
        if d.blanks { format!(" {text} ") } else { text }
    };
    let number = |v: &Option<f64>| match v {
        None => d.mark.to_owned(),
        Some(v) if d.comma => format!("{v:?}").replace('.', ","),
        Some(v) => format!("{v:?}"),
    };
    let mut lines = Vec::new();
    if d.comment {
        lines.push("# written by a program".to_owned());
    }
    let index = |text: String| d.index.then_some(text);
    if d.header {
        let cells = index(String::new()).into_iter().chain(names.iter().cloned());
        lines.push(cells.map(|c| cell(&c)).collect::<Vec<_>>().join(d.separator));
    }
    for (i, row) in rows.iter().enumerate() {
        let cells = index(i.to_string()).into_iter().chain(row.iter().map(number));
        lines.push(cells.map(|c| cell(&c)).collect::<Vec<_>>().join(d.separator));
    }
    let mut text = if d.bom { "\u{feff}".to_owned() } else { String::new() };
    text += &lines.join(d.end);
    if d.last_end {
        text += d.end;
    }
    text
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z_][a-z0-9_.]{0,6}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_table_in_any_dialect_is_read_back(
        d in dialects(),
        names in prop::collection::btree_set(name(), 2..6),
        rows in vec(vec(prop_oneof![9 => (-1e9f64..1e9).prop_map(Some), 1 => Just(None)], 6), 2..12),
    ) {
        let names: Vec<String> = names.into_iter().filter(|n| n.parse::<f64>().is_err()).collect();
        prop_assume!(names.len() > 1 && names.iter().all(|n| !["na", "nan", "null", "none"].contains(&&*n.to_lowercase())));
        let mut rows: Vec<Vec<Option<f64>>> = rows.iter().map(|r| r[..names.len()].to_vec()).collect();
        // A row and a column hold something.
        rows.iter_mut().for_each(|row| row[0] = row[0].or(Some(0.5)));
        rows[0].iter_mut().for_each(|v| *v = v.or(Some(-1.25)));

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.csv");
        std::fs::write(&file, written(&d, &names, &rows)).unwrap();
        let table = Table::read(&file, &TableOptions::default()).unwrap();
        let expected: Vec<String> = if d.header { names.clone() } else { (0..names.len()).map(|j| format!("X{j}")).collect() };
        prop_assert_eq!(table.columns(), &expected[..]);
        prop_assert_eq!(table.rows(), rows.len());
        prop_assert_eq!(table.row_name(1), d.index.then_some("1"));
        for (i, row) in rows.iter().enumerate() {
            prop_assert_eq!(table.line(i), i + 1 + usize::from(d.header) + usize::from(d.comment));
            for (j, v) in row.iter().enumerate() {
                match v {
                    Some(v) => prop_assert_eq!(table.number(i, j).unwrap().to_bits(), v.to_bits()),
                    None => {
                        prop_assert!(table.is_missing(i, j));
                        prop_assert!(table.number(i, j).unwrap_err().to_string().contains("missing"));
                    }
                }
            }
        }
        let full: Vec<f64> = rows.iter().filter_map(|r| r.iter().copied().collect::<Option<Vec<f64>>>()).flatten().collect();
        let drop = TableOptions { drop_missing: true, ..TableOptions::default() };
        prop_assert_eq!(Table::read(&file, &drop).unwrap().matrix().unwrap(), full);
    }

    #[test]
    fn no_text_panics(text in "[a-c0-9.,;|\t \"#=\n\r-]{0,80}") {
        // Either outcome is right; a panic is not.
        if let Ok(table) = Table::parse(Path::new("t"), text, &TableOptions::default()) {
            let _ = (table.matrix(), table.columns().len());
        }
    }
}

fn table(text: &str) -> Table {
    Table::parse(Path::new("t"), text.into(), &TableOptions::default()).unwrap()
}

#[test]
fn words_and_numbers_above_tell_a_header() {
    // UCI's iris: the first flower is none.
    let iris = table("5.1,3.5,setosa\n4.9,3.0,setosa\n6.2,2.9,virginica\n");
    assert_eq!((iris.rows(), iris.cell(0, 2), iris.columns()[2].as_str()), (3, "setosa", "X2"));
    // Years are names.
    let years = table("name,2019,2020\na,1,2\nb,3,4\n");
    assert_eq!((years.rows(), years.columns()[1].as_str()), (2, "2019"));
    let forced = TableOptions { header: Header::Yes, ..TableOptions::default() };
    let genes = Table::parse(Path::new("t"), "4,8,13\n1.5,2.5,3.5\n".into(), &forced).unwrap();
    assert_eq!((genes.columns(), genes.rows()), (&["4", "8", "13"].map(String::from)[..], 1));
    // Truth values 0, 1 are no names.
    assert_eq!(table("0,1\n1,0\n0,0\n").rows(), 3);
}

#[test]
fn rows_may_be_named_as_r_does() {
    let r = table("\"a\" \"b\"\n\"1\" 5 6\n\"2\" 7 8\n");
    assert_eq!((r.columns(), r.row_name(1)), (&["a", "b"].map(String::from)[..], Some("2")));
    assert_eq!(r.matrix().unwrap(), [5., 6., 7., 8.]);
    // A last separator is no cell.
    assert_eq!(table("a,b\n1,2,\n3,4,\n").matrix().unwrap(), [1., 2., 3., 4.]);
    assert_eq!(table("a,b,\n1,2,\n3,4,\n").columns().len(), 2);
    // One name too few is no name of rows.
    let short = Table::parse(Path::new("t"), "a,b\n1.5,2,3\n1.5,4,5\n".into(), &TableOptions::default());
    assert!(short.unwrap_err().to_string().contains("line 2: 3 cells where the header has 2"));
}

#[test]
fn a_header_may_be_a_comment_and_a_separator_told() {
    let numpy = table("# a b\n1.0 2.0\n3.0 4.0\n");
    assert_eq!((numpy.columns(), numpy.rows()), (&["a", "b"].map(String::from)[..], 2));
    assert_eq!(table("sep=;\na;b\n1;2\n").matrix().unwrap(), [1., 2.]);
    let ranked = table("#,name,score\n1,x,5\n2,y,6\n");
    assert_eq!((ranked.columns()[0].as_str(), ranked.row_name(0)), ("name", Some("1")));
}

#[test]
fn thousands_are_not_fractions() {
    let mixed = table("a;b\n1,5;1.234\n2,5;2\n");
    assert!(mixed.numbers(1).unwrap_err().to_string().contains("\"1.234\""));
    let american = table("a\tb\n1,234\t5\n2,345\t6\n");
    assert!(american.numbers(0).unwrap_err().to_string().contains("\"1,234\""));
}

#[test]
fn quotes_hold_separators_quotes_and_line_ends() {
    let found = table("a,\"b \"\"x\"\",\ny\"\n1,\"2\"\n");
    assert_eq!((found.columns()[1].as_str(), found.line(0)), ("b \"x\",\ny", 3));
    let open = Table::parse(Path::new("t"), "a,b\n1,\"2\n3,4\n".into(), &TableOptions::default());
    assert!(open.unwrap_err().to_string().contains("line 2"));
}
