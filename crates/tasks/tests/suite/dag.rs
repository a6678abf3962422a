//! Graphs from files as they come, and what is said of them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use thalweg_core::{Seed, normal};
use thalweg_tasks::dag::{
    EvaluationSettings, LearnedGraph, MethodName, PenaltyName, ScoreName, Settings, Start, evaluate, exact,
    fit, polish,
};
use thalweg_tasks::{Folder, Host, Opening, Result};
use thalweg_topo::Mode;
use thalweg_topo::graph::edges;

/// Files in a folder of their own.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, content)| fs::write(folder.path().join(name), content).unwrap());
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn settings(&self, data: &str) -> Settings {
        Settings { data: Some(self.name(data)), ..Settings::default() }
    }
}

fn learned(settings: &Settings) -> Result<LearnedGraph> {
    fit(settings, None, &Host::default())
}

fn refused(result: Result<LearnedGraph>, words: &str) {
    match result {
        Ok(_) => panic!("not refused: {words}"),
        Err(e) => assert!(e.to_string().contains(words), "{e} (wanted: {words})"),
    }
}

/// Rows of rain → soil ← temp, soil → growth ← temp, growth → yield → price, unequal noise.
fn harvest(rows: usize, scales: [f64; 6]) -> String {
    let mut z = vec![0.0; 6 * rows];
    normal(&mut Seed(5).stream("harvest", 0), &mut z);
    let mut text = "rain,temp,soil,growth,yield,price\n".to_owned();
    for z in z.chunks(6) {
        let (rain, temp) = (2.0 * z[0], z[1]);
        let soil = 0.8 * rain - 0.9 * temp + 0.5 * z[2];
        let growth = soil + 0.8 * temp + 0.6 * z[3];
        let crop = 0.9 * growth + 1.5 * z[4];
        let price = -0.7 * crop + 0.4 * z[5];
        let row: Vec<String> = [rain, temp, soil, growth, crop, price]
            .iter()
            .zip(scales)
            .map(|(x, c)| (c * x).to_string())
            .collect();
        text += &(row.join(",") + "\n");
    }
    text
}

const UNITS: [f64; 6] = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
const OTHER_UNITS: [f64; 6] = [1.0, 1.0, 1.0, 100.0, 1.0, 0.001];

fn pairs(graph: &LearnedGraph) -> Vec<(usize, usize)> {
    edges(&graph.learned.graph).into_iter().map(|e| (e.0, e.1)).collect()
}

#[test]
fn the_default_score_gives_one_graph_in_all_units_and_says_which_it_is() {
    let files = Files::new(&[
        ("a.csv", harvest(800, UNITS).as_bytes()),
        ("b.csv", harvest(800, OTHER_UNITS).as_bytes()),
    ]);
    let (a, b) = (learned(&files.settings("a.csv")).unwrap(), learned(&files.settings("b.csv")).unwrap());
    assert_eq!(a.learned.cpdag, b.learned.cpdag);
    assert_eq!(pairs(&a).len(), 6);
    assert!(a.learned.warnings.is_empty() && b.learned.warnings.is_empty());
    assert_eq!(a.summary()["score_name"], "bic");
    assert!(a.text().contains("score bic") && a.text().contains("auto: it does not depend on units"));
    assert!(a.text().contains("compelled") && !a.text().contains("certain"));
    let l2 = Settings { penalty: Some(PenaltyName::L1), lambda: Some(0.05), ..files.settings("a.csv") };
    assert_eq!(learned(&l2).unwrap().summary()["score_name"], "l2");
    // Least squares says what may have decided it.
    let graph = learned(&Settings { score: Some(ScoreName::L2), ..files.settings("b.csv") }).unwrap();
    assert!(graph.learned.warnings.iter().any(|w| w.contains("units")), "{:?}", graph.learned.warnings);
    let w = Files::new(&[("w.csv", b"from,to\nrain,temp\n")]);
    let better =
        polish(&Settings { w: Some(w.name("w.csv")), ..files.settings("a.csv") }, None, &Host::default());
    assert_eq!(better.unwrap().summary()["score_name"], "bic");
}

#[test]
fn a_setting_that_would_do_nothing_is_refused_by_name() {
    let files = Files::new(&[("d.csv", harvest(60, UNITS).as_bytes()), ("w.csv", b"from,to\nrain,soil\n")]);
    let plain = || files.settings("d.csv");
    let of = |score| Settings { score: Some(score), ..plain() };
    use ScoreName as Name;
    refused(learned(&Settings { hidden: Some(7), ..of(Name::Bic) }), "`hidden`");
    refused(learned(&Settings { gamma: Some(3.0), ..of(Name::Bic) }), "`gamma`");
    refused(
        learned(&Settings { gamma: Some(3.0), penalty: Some(PenaltyName::L1), ..of(Name::L2) }),
        "`gamma`",
    );
    refused(learned(&Settings { lambda: Some(3.0), ..of(Name::Ev) }), "`lambda`");
    refused(learned(&Settings { lambda: Some(3.0), ..of(Name::L2) }), "`lambda` without `penalty`");
    refused(learned(&Settings { penalty: Some(PenaltyName::L1), ..of(Name::Mlp) }), "`penalty`");
    refused(learned(&Settings { small: Some(3), ..plain() }), "`small`");
    refused(learned(&Settings { large: Some(3), ..plain() }), "`large`");
    refused(learned(&Settings { large_budget: Some(3), ..plain() }), "`large_budget`");
    refused(learned(&Settings { walks: Some(Default::default()), ..plain() }), "`walks`");
    refused(learned(&Settings { candidates: Some(Default::default()), ..plain() }), "`candidates`");
    refused(learned(&Settings { window: Some(3), mode: Some(Mode::Paper), ..plain() }), "`window`");
    let all = |settings: &Settings| exact(settings, None, &Host::default());
    refused(all(&Settings { mode: Some(Mode::Fast), ..plain() }), "`mode`");
    refused(all(&Settings { restarts: Some(2), ..plain() }), "`restarts`");
    refused(all(&Settings { bootstrap: Some(2), ..plain() }), "`bootstrap`");
    let start = Settings { init: Some(Start::try_from("random".to_owned()).unwrap()), ..plain() };
    refused(all(&start), "`init`");
    refused(polish(&Settings { w: Some(files.name("w.csv")), ..start }, None, &Host::default()), "`init`");
    let sachs = |settings: Settings| learned(&Settings { data: Some("sachs".into()), ..settings });
    refused(sachs(Settings { header: Some("yes".into()), ..plain() }), "`header`");
    refused(sachs(Settings { drop_missing: Some(true), ..plain() }), "`drop_missing`");
}

#[test]
fn tables_are_read_as_they_come() {
    let body = harvest(200, UNITS);
    let (head, rows) = body.split_once('\n').unwrap();
    let indexed: String = rows.lines().enumerate().map(|(i, row)| format!("{i},{row}\n")).collect();
    let files = Files::new(&[
        ("plain.csv", body.as_bytes()),
        ("tabs.txt", body.replace(',', "\t").as_bytes()),
        ("blanks.txt", body.replace(',', " ").as_bytes()),
        ("spread.csv", body.replace(',', ";").replace('.', ",").as_bytes()),
        ("index.csv", format!(",{head}\n{indexed}").as_bytes()),
        ("bare.csv", rows.as_bytes()),
        ("first_na.csv", format!("1.0,NA,3.0,0.1,0.2,0.3\n{rows}").as_bytes()),
        ("numbers.csv", format!("4,8,13,21,34,55\n{rows}").as_bytes()),
        ("marks.csv", format!("{head}\n1,2,-,4,5,6\n1,2,3,x,5,6\n{rows}").as_bytes()),
        ("npy.npy", &big_endian(rows)),
    ]);
    let plain = learned(&files.settings("plain.csv")).unwrap();
    for (data, n, own_names) in [
        ("tabs.txt", 200, true),
        ("blanks.txt", 200, true),
        ("spread.csv", 200, true),
        ("index.csv", 200, true),
        ("bare.csv", 200, false),
        ("npy.npy", 200, false),
    ] {
        let graph = learned(&files.settings(data)).unwrap();
        assert_eq!((graph.sample.n(), graph.sample.d()), (n, 6), "{data}");
        assert_eq!(pairs(&graph), pairs(&plain), "{data}");
        assert_eq!(graph.sample.names() == plain.sample.names(), own_names, "{data}");
    }
    // A first row of numbers and a mark is a sample; its gap is left out on request.
    refused(learned(&files.settings("first_na.csv")), "missing value");
    let graph = learned(&Settings { drop_missing: Some(true), ..files.settings("first_na.csv") }).unwrap();
    assert_eq!((graph.sample.n(), graph.sample.names()[0].as_str()), (200, "X0"));
    // Names that are numbers.
    let graph = learned(&Settings { header: Some("yes".into()), ..files.settings("numbers.csv") }).unwrap();
    assert_eq!((graph.sample.n(), graph.sample.names()[2].as_str()), (200, "13"));
    let marks = Settings { missing: Some(vec!["-".into(), "x".into()]), ..files.settings("marks.csv") };
    let graph = learned(&Settings { drop_missing: Some(true), ..marks }).unwrap();
    assert_eq!(graph.sample.n(), 200);
}

/// The cells as an array of big-endian doubles.
fn big_endian(rows: &str) -> Vec<u8> {
    let cells: Vec<f64> =
        rows.split([',', '\n']).filter(|c| !c.is_empty()).map(|c| c.parse().unwrap()).collect();
    let mut head = format!("{{'descr': '>f8', 'fortran_order': False, 'shape': ({}, 6), }}", cells.len() / 6);
    while (head.len() + 11) % 64 != 0 {
        head.push(' ');
    }
    head.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((head.len() as u16).to_le_bytes());
    file.extend(head.as_bytes());
    file.extend(cells.iter().flat_map(|x| x.to_be_bytes()));
    file
}

#[test]
fn the_remedy_that_an_error_names_is_taken() {
    let body = harvest(80, UNITS);
    let mut lines = body.lines();
    let head = lines.next().unwrap();
    let more: String = lines
        .enumerate()
        .map(|(i, row)| {
            let rain = row.split(',').next().unwrap();
            format!("{row},{rain},7,2024-01-{:02},{}\n", i % 28 + 1, if i == 3 { "" } else { "1" })
        })
        .collect();
    let files = Files::new(&[("d.csv", format!("{head},copy,same,day,gaps\n{more}").as_bytes())]);
    let with = |drop: &[&str], score| Settings {
        drop: Some(drop.iter().map(|d| (*d).to_owned()).collect()),
        score: Some(score),
        ..files.settings("d.csv")
    };
    for score in [ScoreName::Bic, ScoreName::Mcp, ScoreName::L2] {
        refused(learned(&with(&[], score)), "name the column in `drop`");
        refused(learned(&with(&["day"], score)), "missing value");
        refused(learned(&with(&["day", "gaps"], score)), "column same is constant");
        refused(learned(&with(&["day", "gaps", "same"], score)), "name one of them in `drop`");
        let graph = learned(&with(&["day", "gaps", "same", "copy"], score)).unwrap();
        // Nothing is lost to gaps of a column that is left out.
        assert_eq!((graph.sample.d(), graph.sample.n()), (6, 80));
    }
    refused(learned(&with(&["dya"], ScoreName::Bic)), "no column dya");
}

#[test]
fn knowledge_of_neighbours_is_read_and_obeyed() {
    let tetrad = b"/knowledge\naddtemporal\n\n1*  rain temp\n2 soil growth\n3 yield price\n\nforbiddirect\nsoil yield\n\n\
        requiredirect\nrain price\n";
    let files = Files::new(&[
        ("d.csv", harvest(300, UNITS).as_bytes()),
        ("k.txt", tetrad),
        ("some.txt", b"/knowledge\naddtemporal\n1 price\n2 yield\nforbiddirect\nrequiredirect"),
        ("bad.txt", b"/knowledge\naddtemporal\n1 rain snow\n"),
        ("loop.txt", b"/knowledge\nrequiredirect\nrain rain\n"),
    ]);
    let with = |file: &str| Settings { knowledge: Some(files.path(file)), ..files.settings("d.csv") };
    let graph = learned(&with("k.txt")).unwrap();
    let w = &graph.learned.graph;
    let tier = [0, 0, 1, 1, 2, 2];
    assert!(pairs(&graph).iter().all(|(u, v)| tier[*u] <= tier[*v]), "{:?}", pairs(&graph));
    assert!(w[(0, 1)] == 0.0 && w[(1, 0)] == 0.0 && w[(2, 4)] == 0.0 && w[(0, 5)] != 0.0);
    // What tiers force is directed in the class.
    let across = |e: &(usize, usize)| tier[e.0] < tier[e.1];
    assert!(pairs(&graph).iter().filter(|e| across(e)).all(|e| graph.learned.cpdag.directed.contains(e)));
    // Variables without a tier go free.
    let graph = learned(&with("some.txt")).unwrap();
    assert_eq!(graph.learned.graph[(4, 5)], 0.0);
    refused(learned(&with("bad.txt")), "no column snow");
    refused(learned(&with("loop.txt")), "from a node to itself");
}

#[test]
fn graphs_of_other_programs_are_read() {
    let files = Files::new(&[
        ("x.csv", harvest(200, UNITS).split_once('\n').unwrap().1.as_bytes()),
        ("named.csv", harvest(200, UNITS).as_bytes()),
        ("w.csv", b"0,0,.8,0,0,0\n0,0,-.9,.8,0,0\n0,0,0,1,0,0\n0,0,0,0,.9,0\n0,0,0,0,0,-.7\n.01,0,0,0,0,0\n"),
        ("small.csv", b"0.0,0.5\n0.0,0.0\n"),
        ("zero.csv", b"from,to,weight\nrain,soil,0\ntemp,rain,1\n"),
        ("self.csv", b"from,to\nrain,rain\n"),
        ("diagonal.csv", b"rain,temp\n1,0.5\n0,1\n"),
    ]);
    let improve = |data: &str, w: &str| {
        polish(&Settings { w: Some(files.name(w)), ..files.settings(data) }, None, &Host::default())
    };
    for data in ["x.csv", "named.csv"] {
        let done = improve(data, "w.csv").unwrap();
        assert_eq!(done.improved.unwrap().cut, 0.01, "{data}");
        assert_eq!(pairs(&done).len(), 6);
    }
    refused(improve("named.csv", "small.csv"), "no names and 2 columns where the data have 6");
    refused(improve("named.csv", "self.csv"), "from a node to itself");
    refused(improve("named.csv", "diagonal.csv"), "on the diagonal");
    // Whoever lists an edge means it.
    let forbid = Settings { forbid: Some(files.path("zero.csv")), ..files.settings("named.csv") };
    let graph = learned(&forbid).unwrap();
    assert!(graph.learned.graph[(0, 2)] == 0.0 && graph.learned.graph[(1, 0)] == 0.0);
    refused(
        learned(&Settings { require: Some(files.path("self.csv")), ..files.settings("named.csv") }),
        "itself",
    );
}

#[test]
fn what_a_folder_holds_can_be_read_again_whatever_the_names() {
    let body = harvest(150, UNITS).replacen("rain,temp", "\"rain, mm\",\"the \"\"temp\"\"\"", 1);
    let files = Files::new(&[("d.csv", body.as_bytes())]);
    let folder = Folder::open(files.path("g"), Opening::Fresh).unwrap();
    let graph = fit(&files.settings("d.csv"), Some(&folder), &Host::default()).unwrap();
    assert_eq!(graph.sample.names()[0], "rain, mm");
    let order = Start::try_from(format!("order:{}", files.path("g/order.txt").display())).unwrap();
    let again = learned(&Settings { init: Some(order), ..files.settings("d.csv") }).unwrap();
    assert_eq!(again.learned.cpdag, graph.learned.cpdag);
    for file in ["g/graph.csv", "g/edges.csv", "g"] {
        let settings = EvaluationSettings {
            truth: Some(files.name("g/graph.csv")),
            est: Some(files.name(file)),
            data: Some(files.name("d.csv")),
            order: Some(files.path("g/order.txt")),
        };
        let same = evaluate(&settings, &Host::default()).unwrap();
        assert_eq!((same.metrics.shd, same.order_divergence), (0, Some(0)), "{file}");
    }
    let one_line = "\"a\",b , c\n";
    fs::write(files.path("line.txt"), one_line).unwrap();
    let names = ["c", "a", "b"].map(String::from);
    assert_eq!(thalweg_tasks::dag::table::order(&files.path("line.txt"), &names).unwrap(), [1, 2, 0]);
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn resamples_say_how_sure_edges_are_in_table_file_and_picture() {
    let files = Files::new(&[("d.csv", harvest(150, UNITS).as_bytes())]);
    let run = |out: &str| {
        let folder = Folder::open(files.path(out), Opening::Fresh).unwrap();
        let settings = Settings { bootstrap: Some(12), restarts: Some(1), ..files.settings("d.csv") };
        fit(&settings, Some(&folder), &Host::default()).unwrap()
    };
    let (one, two) = (run("one"), run("two"));
    assert_eq!(one.support, two.support);
    // The folder repeats the run, and says the same of its score.
    let again: Settings = toml_of(&files.path("one/config.toml"));
    let again = learned(&again).unwrap();
    assert_eq!((&again.score, &again.support), (&one.score, &one.support));
    assert_eq!(one.support.as_ref().unwrap().resamples, 12);
    assert!(
        one.text().contains("linked") && one.text().contains(" %") && one.text().contains("12 resamples")
    );
    let listed = read(&files.path("one/edges.csv"));
    assert!(listed.starts_with("from,to,weight,class,linked,forward,backward\n"), "{listed}");
    assert!(listed.lines().any(|l| l.starts_with("rain,soil,") || l.starts_with("soil,rain,")), "{listed}");
    let summary: Value = serde_json::from_str(&read(&files.path("one/summary.json"))).unwrap();
    assert_eq!(summary["resamples"], 12);
    assert!(summary["support"].as_array().unwrap().iter().all(|s| s["linked"].as_f64().unwrap() <= 1.0));
    // The report shows the graph itself, with names, weights and shares.
    let report = read(&files.path("one/report.html"));
    assert!(
        report.contains("class=\"dag\"") && report.contains(">rain</text>") && report.contains(" %</text>")
    );
    assert!(read(&files.path("one/graph.svg")).contains(" %</text>"));
    let drawn = read(&files.path("one/graph.svg"));
    let open = one.learned.cpdag.undirected.len();
    assert_eq!(drawn.matches("stroke-dasharray").count(), open);
}

#[test]
fn fewer_samples_than_variables_are_said_to_decide_little() {
    let files = Files::new(&[("few.csv", harvest(5, UNITS).as_bytes())]);
    let graph = learned(&files.settings("few.csv")).unwrap();
    assert!(graph.learned.warnings.iter().any(|w| w.contains("5 samples of 6 variables")));
}

#[test]
fn what_is_printed_of_two_graphs_is_in_the_json_too() {
    let files = Files::new(&[
        ("truth.csv", b"from,to\na,b\nb,c\nc,d\n"),
        ("est.csv", b"from,to\nb,a\nb,c\na,d\n"),
        ("none.csv", b"a,b,c,d\n0,0,0,0\n0,0,0,0\n0,0,0,0\n0,0,0,0\n"),
        ("bare.csv", b"0,1,0,0\n0,0,1,0\n0,0,0,1\n0,0,0,0\n"),
    ]);
    let compare = |truth: &str, est: &str| {
        let (truth, est) = (Some(files.name(truth)), Some(files.name(est)));
        evaluate(&EvaluationSettings { truth, est, ..EvaluationSettings::default() }, &Host::default())
            .unwrap()
    };
    let found = compare("truth.csv", "est.csv");
    let summary = found.summary();
    let table = found.table().text();
    for key in summary.keys().filter(|key| *key != "differing") {
        assert!(table.contains(key.as_str()), "{key}");
    }
    assert_eq!((summary["skeleton_shd"].as_u64(), summary["edges_found"].as_u64()), (Some(2), Some(3)));
    let differing: Vec<(&str, &str, &str)> =
        found.differing.iter().map(|d| (&*d.from, &*d.to, d.how)).collect();
    assert_eq!(differing, [("a", "d", "extra"), ("b", "a", "reversed"), ("c", "d", "missing")]);
    assert_eq!(found.metrics.shd, differing.len());
    // Of an empty truth nothing is found.
    assert_eq!(compare("none.csv", "est.csv").metrics.tpr, 0.0);
    // A matrix without names takes those of the other graph.
    assert_eq!(compare("truth.csv", "bare.csv").metrics.shd, 0);
}

/// Columns of 0 and 1 in which a rare cause has one effect.
#[test]
fn a_rare_cause_in_a_file_is_linked_to_its_effect_alone() {
    let counts = [("0,0,0\n", 461), ("0,0,1\n", 11), ("0,1,0\n", 11), ("1,0,0\n", 2), ("1,1,0\n", 15)];
    let rows: String = counts.iter().map(|(row, n)| row.repeat(*n)).collect();
    let files = Files::new(&[("d.csv", format!("a,b,c\n{rows}").as_bytes())]);
    for score in [ScoreName::Logistic, ScoreName::Auto] {
        let graph = learned(&Settings { score: Some(score), ..files.settings("d.csv") }).unwrap();
        let found = pairs(&graph);
        assert!(found == [(0, 1)] || found == [(1, 0)], "{found:?}");
    }
}

#[test]
fn continuous_methods_run_as_they_are() {
    let files = Files::new(&[("d.csv", harvest(300, UNITS).as_bytes())]);
    for (method, init) in [(MethodName::Notears, "notears"), (MethodName::Golem, "golem")] {
        let settings = Settings { method: Some(method), ..files.settings("d.csv") };
        let folder = Folder::open(files.path(init), Opening::Fresh).unwrap();
        let graph = fit(&settings, Some(&folder), &Host::default()).unwrap();
        assert!(!pairs(&graph).is_empty() && graph.summary()["score_name"] == "l2");
        assert!(edges(&graph.learned.graph).iter().all(|e| e.2.abs() >= 0.3));
        let again: Settings = toml_of(&files.path(init).join("config.toml"));
        assert_eq!(pairs(&learned(&again).unwrap()), pairs(&graph), "{init}");
        // Swaps from there are no worse.
        let start = Some(Start::try_from(init.to_owned()).unwrap());
        let swaps = Settings { score: Some(ScoreName::L2), init: start, ..files.settings("d.csv") };
        assert!(learned(&swaps).unwrap().learned.score <= graph.learned.score + 1e-9);
        refused(learned(&Settings { restarts: Some(3), ..settings.clone() }), "takes no `restarts`");
        refused(learned(&Settings { score: Some(ScoreName::Bic), ..settings }), "takes no `score`");
    }
}

fn toml_of(file: &Path) -> Settings {
    thalweg_tasks::settings::merged(Default::default(), Some(file)).unwrap()
}
