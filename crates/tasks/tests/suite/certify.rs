//! Models and archives as certificates read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use thalweg_core::Seed;
use thalweg_data::{npy, npz};
use thalweg_lipsdp::sample::{Sampling, lower_bound};
use thalweg_lipsdp::{Bound, LipSdp, Norm};
use thalweg_net::{Graph, Init, Mode, Model, Net, Pass, Preprocess, initial, named};
use thalweg_tasks::certify::{EpsUnit, ReadOptions, Settings, certify, check, network, read, wired};
use thalweg_tasks::{Folder, Host, Opening, Result};
use thalweg_testing::gaussian;

/// A network with random weights, statistics and preprocessing.
fn random(graph: Graph, seed: u64) -> Model {
    let (theta, mut buffers) = initial::<f32>(&graph, &Init::PyTorch, Seed(seed)).unwrap();
    let g = gaussian(buffers.len().max(1), 1, seed);
    buffers.iter_mut().enumerate().for_each(|(i, b)| *b += 0.3 * g[(i, 0)].abs() as f32);
    let preprocess = Preprocess { scale: 0.25, mean: vec![0.3], std: vec![0.7] };
    let classes = Vec::new();
    Model { graph, theta, buffers, preprocess, classes, ..Model::default() }
}

fn small_resnet() -> Model {
    random(named("resnet8", &[4, 4, 1], 3).unwrap(), 3)
}

/// The values of the network's engine for scaled inputs, in double precision.
fn values(model: &Model, x: &[f64]) -> Vec<f64> {
    let wide = |v: &[f32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    let net = Net::<f64>::new(model.graph.clone()).unwrap();
    let (mean, std) = (f64::from(model.preprocess.mean[0]), f64::from(model.preprocess.std[0]));
    let seen: Vec<f64> = x.iter().map(|x| (x - mean) / std).collect();
    let (theta, buffers) = (wide(&model.theta), wide(&model.buffers));
    Pass::default().forward(&net, &theta, &buffers, &seen, Mode::Eval).unwrap().to_vec()
}

/// What is written out computes what the engine computes.
fn agrees(model: &Model) {
    let net = network(model).unwrap();
    let n = net.inputs();
    let g = gaussian(n, 5, 11);
    for k in 0..5 {
        let x: Vec<f64> = (0..n).map(|i| g[(i, k)]).collect();
        let (theirs, ours) = (values(model, &x), net.forward(&x).unwrap());
        assert_eq!(theirs.len(), ours.len());
        for (a, b) in theirs.iter().zip(&ours) {
            assert!((a - b).abs() <= 1e-9 * (1.0 + a.abs()), "{a} {b}");
        }
    }
}

fn toml(text: &str) -> Graph {
    Graph::from_toml(text).unwrap()
}

/// Dense layers of eight neurons around a sum, the layers of the branch and what is added to it by name.
fn residual(branch: &str, added: &str) -> Graph {
    let linear =
        |name: &str, out: usize| format!("[[layer]]\nname = \"{name}\"\nop = \"linear\"\nout = {out}\n");
    let relu = |name: &str| format!("[[layer]]\nname = \"{name}\"\nop = \"act\"\nact = \"relu\"\n");
    let norm = "[[layer]]\nname = \"bn\"\nop = \"batch-norm\"\n".to_owned();
    let layers = branch.split(' ').map(|name| match name {
        name if name.starts_with("fc") => linear(name, 8),
        "bn" => norm.clone(),
        name => relu(name),
    });
    let layers: String = layers.collect();
    let sum = format!("[[layer]]\nname = \"add\"\nop = \"add\"\ninputs = [{added}]\n");
    toml(&format!("input = [6]\n{layers}{sum}{}{}", relu("a9"), linear("fc9", 10)))
}

#[test]
fn residual_networks_are_certified_wherever_their_skips_come_from() {
    for (branch, added) in [
        ("fc0 fc1 a1 fc2", "\"fc2\", \"fc0\""),
        ("fc0 fc1 a1 fc2", "\"fc0\", \"fc2\""),
        ("fc0 a0 fc1 a1 fc2", "\"fc2\", \"a0\""),
        ("fc0 a0 fc1 bn a1 fc2", "\"fc2\", \"bn\", \"a0\""),
        ("fc0 a0 fc1 a1 fc2 a2 fc3", "\"fc3\", \"a0\""),
    ] {
        let model = random(residual(branch, added), 7);
        agrees(&model);
        let net = network(&model).unwrap();
        let found = lower_bound(&net, Norm::L2, &[], &Sampling::default()).unwrap();
        let tight = LipSdp::default().certify(&net).unwrap();
        let product = wired(&model, &model.preprocess).unwrap().product(Norm::L2);
        assert!(tight.verified && found <= tight.bound, "{branch}: {found} {}", tight.bound);
        assert!(tight.bound <= product * (1.0 + 1e-9), "{branch}: {} {product}", tight.bound);
        assert!(tight.bound < 2.0 * found, "{branch}: {} {found}", tight.bound);
    }
}

/// Two linear layers whose product loses everything in double precision: row 0 is 2⁶⁰ + 1 − 2⁶⁰.
fn cancelling() -> Model {
    let graph = toml(
        "input = [1]\n[[layer]]\nname = \"fc1\"\nop = \"linear\"\nout = 3\n[[layer]]\nname = \"fc2\"\nop = \"linear\"\nout = 10\n",
    );
    let mut theta = vec![0f32; 3 + 3 + 30 + 10];
    theta[..3].copy_from_slice(&[2f32.powi(60), 1.0, -(2f32.powi(60))]);
    theta[6..9].fill(1.0);
    theta[10] = 1e-3;
    Model { graph, theta, ..Model::default() }
}

fn saved(place: &Path, model: &Model) -> PathBuf {
    let file = place.join("model.safetensors");
    model.save(&file).unwrap();
    file
}

fn of(file: &Path) -> Settings {
    Settings { model: Some(file.into()), ..Settings::default() }
}

#[test]
fn products_of_layers_are_never_rounded_before_the_proof() {
    let place = tempfile::tempdir().unwrap();
    let file = saved(place.path(), &cancelling());
    for bound in ["auto", "neuron", "layer", "eclipse", "first-order", "split:2", "product", "patterns"] {
        let outcome = certify(&Settings { bound: Some(bound.into()), ..of(&file) }, None, &Host::default());
        match outcome {
            Ok(outcome) => {
                let c = &outcome.certificates[0];
                assert!((1.0..1.0 + 1e-5).contains(&c.bound), "{bound}: {}", c.bound);
            }
            Err(e) => assert!(bound == "patterns" || bound == "first-order", "{bound}: {e}"),
        }
    }
}

/// 1/std, a folded batch normalization: the bound is for the numbers that are meant, not for their rounding.
#[test]
fn what_is_rounded_while_reading_carries_its_error() {
    let graph = toml(
        "input = [3]\n[[layer]]\nname = \"fc1\"\nop = \"linear\"\nout = 4\n[[layer]]\nname = \"bn1\"\nop = \"batch-norm\"\n\
         [[layer]]\nname = \"a\"\nop = \"act\"\nact = \"relu\"\n[[layer]]\nname = \"fc2\"\nop = \"linear\"\nout = 2\n",
    );
    let net = network(&random(graph, 5)).unwrap();
    let thalweg_lipsdp::Block::Affine(first) = &net.blocks()[0] else { panic!("a first map") };
    let radii = first.radii.as_ref().expect("1/0.7 and the normalization are rounded");
    for i in 0..4 {
        for j in 0..3 {
            let (w, r) = (first.weight[(i, j)].abs(), radii.weight[(i, j)]);
            assert!(r > 1e-17 * w && r < 1e-14 * w, "{w} ± {r}");
        }
    }
}

#[test]
fn every_layer_that_is_written_out_computes_what_the_engine_computes() {
    for (arch, input) in [
        ("mlp:12-8-5:maxmin", &[12][..]),
        ("mlp:12-8-5:gelu", &[3, 2, 2]),
        ("lenet", &[12, 14, 2]),
        ("cnn:2,3", &[9, 8, 2]),
        ("resnet8", &[6, 5, 2]),
        ("resnet8:projection", &[6, 6, 1]),
    ] {
        let outputs = if arch.starts_with("mlp") { 5 } else { 4 };
        agrees(&random(named(arch, input, outputs).unwrap(), 9));
    }
    let conv = |name: &str, rest: &str| format!("[[layer]]\nname = \"{name}\"\n{rest}\n");
    let text = [
        "input = [7, 6, 4]\n".to_owned(),
        conv(
            "c1",
            "op = \"conv2d\"\nout = 6\nk = [3, 2]\nstride = [2, 1]\npad = [1, 0, 2, 1]\ndilation = [1, 2]\ngroups = 2",
        ),
        conv("s", "op = \"scale\""),
        conv("c2", "op = \"conv2d\"\nout = 4\nk = [3, 3]\npad = [1, 1, 1, 1]\ncircular = true"),
        conv("p", "op = \"avg-pool\"\nk = [2, 3]\nstride = [1, 2]\npad = [1, 0, 1, 1]"),
        conv("d", "op = \"dropout\"\np = 0.5"),
        conv("l", "op = \"linear\"\nout = 3"),
        conv("g", "op = \"group-sort\"\nsize = 3"),
        conv("f", "op = \"flatten\""),
        conv("e", "op = \"linear\"\nout = 2"),
    ];
    agrees(&random(toml(&text.concat()), 4));
    let text = [
        "input = [9, 2]\n".to_owned(),
        conv("c", "op = \"conv1d\"\nout = 3\nk = 3\nstride = 2\npad = [2, 1]"),
        conv("a", "op = \"act\"\nact = \"tanh\""),
        conv("p", "op = \"global-avg-pool\""),
    ];
    agrees(&random(toml(&text.concat()), 6));
}

/// Convolutions and residual networks of real sizes, by norms, within seconds.
#[test]
fn convolutional_and_residual_networks_are_bounded_in_seconds() {
    let place = tempfile::tempdir().unwrap();
    for (arch, input) in
        [("cnn:1,4", [20, 20, 3]), ("lenet", [28, 28, 1]), ("resnet8", [8, 8, 1]), ("resnet20", [32, 32, 3])]
    {
        let file = saved(place.path(), &random(named(arch, &input, 10).unwrap(), 2));
        let clock = Instant::now();
        let loaded = read(&file, &ReadOptions::default()).unwrap();
        let product = loaded.net.certify(&LipSdp { bound: Bound::Product, ..LipSdp::default() }).unwrap();
        let seconds = clock.elapsed().as_secs_f64();
        println!("{arch}: {} in {seconds:.2} s", product.bound);
        assert!(product.verified && product.bound.is_finite() && seconds < 60.0, "{arch}: {seconds} s");
        let method = loaded.net.resolved(LipSdp::default(), &Host::default()).unwrap();
        assert_eq!(method.bound, Bound::Product, "{arch}: nothing else is quick");
    }
}

#[test]
fn the_product_of_norms_of_a_resnet_is_above_what_inputs_reach() {
    let model = small_resnet();
    agrees(&model);
    let net = network(&model).unwrap();
    let sampling = Sampling { points: 10, max_steps: 10, seed: 1 };
    let found = lower_bound(&net, Norm::L2, &[], &sampling).unwrap();
    let product = wired(&model, &model.preprocess).unwrap().product(Norm::L2);
    assert!(found <= product, "{found} {product}");
}

#[test]
fn a_network_without_a_constraint_is_refused_by_its_layer() {
    let model = random(named("char-transformer:1,8,2,4", &[4], 5).unwrap(), 1);
    let why = network(&model).unwrap_err().to_string();
    assert!(why.contains("wte") && why.contains("residual"), "{why}");
    let big = random(named("resnet20", &[32, 32, 3], 10).unwrap(), 1);
    let why = network(&big).unwrap_err().to_string();
    assert!(why.contains("`bound`") && why.contains("product"), "{why}");
}

fn archive(place: &Path, arrays: Vec<(&str, Vec<u8>)>) -> PathBuf {
    let file = place.join("weights.npz");
    fs::write(&file, npz(arrays)).unwrap();
    file
}

fn bound(file: &Path) -> Result<f64> {
    let settings = Settings { activation: Some("relu".into()), bound: Some("product".into()), ..of(file) };
    Ok(certify(&settings, None, &Host::default())?.certificates[0].bound)
}

fn matrix(rows: usize, columns: usize, value: f64) -> Vec<u8> {
    npy(
        &[rows, columns],
        (0..rows * columns).map(|k| if k.is_multiple_of(columns + 1) { value } else { 0.0 }),
    )
}

fn vector(n: usize) -> Vec<u8> {
    npy(&[n], vec![0.5f32; n])
}

#[test]
fn layers_of_an_archive_are_found_by_number_and_by_name() {
    let place = tempfile::tempdir().unwrap();
    for names in [
        ["W0", "b0", "W1", "b1"],
        ["W1", "b1", "W2", "b2"],
        ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"],
        ["0.weight", "0.bias", "2.weight", "2.bias"],
    ] {
        let arrays = vec![
            (names[0], matrix(3, 2, 2.0)),
            (names[1], vector(3)),
            (names[2], matrix(2, 3, 5.0)),
            (names[3], vector(2)),
        ];
        assert!((bound(&archive(place.path(), arrays)).unwrap() - 10.0).abs() < 1e-9, "{names:?}");
    }
    for names in [
        ["dense/kernel:0", "dense/bias:0", "dense_1/kernel:0", "dense_1/bias:0"],
        ["arr_0", "arr_1", "arr_2", "arr_3"],
    ] {
        let arrays = vec![
            (names[0], matrix(2, 3, 2.0)),
            (names[1], vector(3)),
            (names[2], matrix(3, 4, 5.0)),
            (names[3], vector(4)),
        ];
        assert!((bound(&archive(place.path(), arrays)).unwrap() - 10.0).abs() < 1e-9, "{names:?}");
    }
}

/// A safetensors file of these tensors in the order of their names.
fn safetensors(place: &Path, kind: &str, tensors: &[(&str, &[usize], Vec<u8>)]) -> PathBuf {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        header.insert(
            (*name).into(),
            serde_json::json!({ "dtype": kind, "shape": shape, "data_offsets": offsets }),
        );
        data.extend(bytes);
    }
    let text = serde_json::Value::Object(header).to_string();
    let file = place.join("weights.safetensors");
    fs::write(&file, [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &data].concat()).unwrap();
    file
}

#[test]
fn tensors_without_layers_are_taken_in_the_order_that_their_names_count() {
    let place = tempfile::tempdir().unwrap();
    let diagonal = |rows: usize, columns: usize, value: f64| -> Vec<u8> {
        let entry = |k: usize| if k.is_multiple_of(columns + 1) { value } else { 0.0 };
        (0..rows * columns).flat_map(|k| entry(k).to_le_bytes()).collect()
    };
    // 0.1 is no number of single precision: nothing may round it.
    let file = safetensors(
        place.path(),
        "F64",
        &[
            ("0.weight", &[3, 2], diagonal(3, 2, 0.1)),
            ("10.weight", &[1, 4], diagonal(1, 4, 7.0)),
            ("2.weight", &[4, 3], diagonal(4, 3, 5.0)),
        ],
    );
    let found = bound(&file).unwrap();
    assert!((0.1 * 35.0 * (1.0 - 1e-15)..0.1 * 35.0 * (1.0 + 1e-6)).contains(&found), "{found}");
    let arch = ReadOptions { arch: Some("mlp:2-1".into()), ..ReadOptions::default() };
    let file = safetensors(
        place.path(),
        "F64",
        &[("fc1.weight", &[1, 2], diagonal(1, 2, 0.1)), ("fc1.bias", &[1], diagonal(1, 1, 0.0))],
    );
    assert!(read(&file, &arch).unwrap_err().to_string().contains("double precision"));
    // A normalization between layers is no dense layer.
    let file = safetensors(
        place.path(),
        "F64",
        &[("0.weight", &[2, 2], diagonal(2, 2, 1.0)), ("1.weight", &[2], vec![0; 16])],
    );
    assert!(bound(&file).unwrap_err().to_string().contains("1.weight"));
}

#[test]
fn arrays_that_are_not_asked_for_are_not_read_and_unused_matrices_are_refused() {
    let place = tempfile::tempdir().unwrap();
    // An array of objects: whoever reads it fails.
    let mut objects = vector(1);
    let at = objects.windows(3).position(|w| w == b"<f4").unwrap();
    objects[at..at + 3].copy_from_slice(b"|O8");
    let layers = || vec![("W1", matrix(3, 2, 2.0)), ("W2", matrix(2, 3, 5.0))];
    let with = |more: Vec<(&'static str, Vec<u8>)>| {
        bound(&archive(place.path(), layers().into_iter().chain(more).collect()))
    };
    assert!(with(vec![("notes", objects)]).is_ok());
    assert!(with(vec![("labels", vector(7))]).is_ok());
    for (name, clue) in [("W4", "W3"), ("b9", "W3"), ("embedding", "embedding")] {
        let why = with(vec![(name, matrix(2, 2, 1.0))]).unwrap_err().to_string();
        assert!(why.contains(clue), "{name}: {why}");
    }
    let gap = bound(&archive(place.path(), vec![("W0", matrix(2, 2, 1.0)), ("W2", matrix(2, 2, 1.0))]));
    assert!(gap.unwrap_err().to_string().contains("W1"));
    // A normalization between named layers is not left out.
    let named =
        vec![("0.weight", matrix(3, 2, 2.0)), ("1.weight", vector(3)), ("2.weight", matrix(2, 3, 5.0))];
    assert!(bound(&archive(place.path(), named)).unwrap_err().to_string().contains("1.weight"));
}

#[test]
fn architectures_take_any_number_of_outputs_and_say_what_they_need() {
    let place = tempfile::tempdir().unwrap();
    let text = "input = [4]\n[[layer]]\nname = \"fc1\"\nop = \"linear\"\nout = 1\n";
    let file = saved(place.path(), &random(toml(text), 1));
    let arch = place.path().join("arch.toml");
    fs::write(&arch, text).unwrap();
    let options = ReadOptions { arch: Some(arch.display().to_string()), ..ReadOptions::default() };
    assert_eq!(read(&file, &options).unwrap().net.outputs(), 1);

    let model = random(named("lenet", &[12, 12, 1], 7).unwrap(), 1);
    let file = saved(place.path(), &model);
    let lenet = |input: Option<Vec<usize>>, outputs| {
        let arch = Some("lenet".to_owned());
        read(&file, &ReadOptions { arch, input, outputs, ..ReadOptions::default() }).map(|l| l.net.outputs())
    };
    assert_eq!(lenet(None, Some(7)).unwrap(), 7, "the shape is the model's own");
    assert_eq!(lenet(Some(vec![12, 12, 1]), Some(7)).unwrap(), 7);
    assert!(lenet(None, None).unwrap_err().to_string().contains("[10, 64]"));
    // The same tensors without the description.
    let bytes = fs::read(&file).unwrap();
    let (head, rest) = bytes.split_at(8);
    let length = u64::from_le_bytes(head.try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&rest[..length]).unwrap();
    header.as_object_mut().unwrap().remove("__metadata__");
    let mut text = header.to_string().into_bytes();
    text.resize(length, b' ');
    fs::write(&file, [head, &text, &rest[length..]].concat()).unwrap();
    assert!(lenet(None, Some(7)).unwrap_err().to_string().contains("`input`"));
    assert_eq!(lenet(Some(vec![12, 12, 1]), Some(7)).unwrap(), 7);
}

/// A change of 1 is the range of the data, or 1 in the data's own numbers, whatever the model's scale is.
#[test]
fn sizes_of_changes_are_in_the_units_that_are_said() {
    let place = tempfile::tempdir().unwrap();
    let graph = named("mlp:64-8-10", &[64], 10).unwrap();
    let file = saved(
        place.path(),
        &Model { preprocess: Preprocess { scale: 1.0 / 255.0, ..Preprocess::default() }, ..random(graph, 1) },
    );
    let of = |unit, eps: f64| {
        let settings = Settings {
            data: Some("digits".into()),
            limit: Some(200),
            eps: Some(vec![eps]),
            eps_unit: Some(unit),
            ..of(&file)
        };
        certify(&settings, None, &Host::default()).unwrap().samples.unwrap()
    };
    let (range, raw) = (of(EpsUnit::Range, 0.05), of(EpsUnit::Raw, 0.8));
    assert_eq!((range.unit, raw.unit), (16.0, 1.0), "the digits go from 0 to 16");
    assert_eq!(
        (range.curve[0].certified, range.curve[0].attacked),
        (raw.curve[0].certified, raw.curve[0].attacked)
    );
    for (a, b) in range.radii.iter().zip(&raw.radii) {
        assert!((16.0 * a.1 - b.1).abs() <= 1e-12 * b.1, "{a:?} {b:?}");
    }
    assert!(range.radii.iter().any(|r| r.1 > 0.0));
}

#[test]
fn settings_of_samples_without_data_are_refused_by_name() {
    for (settings, name) in [
        (Settings { eps_unit: Some(EpsUnit::Raw), ..Settings::default() }, "eps-unit"),
        (Settings { label: Some("y".into()), ..Settings::default() }, "label"),
        (Settings { limit: Some(3), ..Settings::default() }, "limit"),
        (Settings { pairs: Some(true), ..Settings::default() }, "pairs"),
        (Settings { limit: Some(0), ..Settings::default() }, "limit"),
    ] {
        let why = certify(&settings, None, &Host::default()).unwrap_err().to_string();
        assert!(why.contains(&format!("`{name}`")), "{name}: {why}");
    }
}

/// A product of norms is checked by computing it again.
#[test]
fn a_product_of_norms_can_be_checked_and_not_forged() {
    let place = tempfile::tempdir().unwrap();
    let file = saved(place.path(), &small_resnet());
    let settings = Settings { bound: Some("product".into()), ..of(&file) };
    let host = Host::default();
    let mut claimed = read(&file, &ReadOptions::default())
        .unwrap()
        .net
        .certify(&LipSdp { bound: Bound::Product, ..LipSdp::default() })
        .unwrap();
    let certificate = place.path().join("certificate.json");
    let write = |c: &thalweg_lipsdp::Certificate| {
        fs::write(&certificate, serde_json::to_string(c).unwrap()).unwrap();
    };
    write(&claimed);
    assert_eq!(check(&settings, &certificate, &host).unwrap().proved, claimed.bound);
    claimed.bound *= 0.9;
    write(&claimed);
    assert!(check(&settings, &certificate, &host).is_err());
}

/// What a certificate is for stands in it: it is checked without being told, and for nothing else.
#[test]
fn a_certificate_knows_its_network_its_row_and_its_pair() {
    let place = tempfile::tempdir().unwrap();
    let dense = |rows: usize, columns: usize, seed| {
        let g = gaussian(rows, columns, seed);
        npy(&[rows, columns], (0..rows * columns).map(|k| g[(k / columns, k % columns)]))
    };
    let weights =
        |seed| vec![("W1", dense(6, 4, seed)), ("W2", dense(6, 6, seed + 1)), ("W3", dense(3, 6, seed + 2))];
    let file = archive(place.path(), weights(1));
    let host = Host::default();
    let aims = [(None, None), (Some(1), None), (None, Some((0, 2)))];
    for (k, (output_row, pair)) in aims.into_iter().enumerate() {
        for bound in ["neuron", "split:2", "patterns", "product"] {
            let settings = Settings {
                activation: Some("leaky:0.1".into()),
                bound: Some(bound.into()),
                output_row,
                pair,
                ..of(&file)
            };
            let folder = Folder::open(place.path().join(format!("{k}-{bound}")), Opening::Fresh).unwrap();
            let made = certify(&settings, Some(&folder), &host).unwrap();
            let certificate = folder.file("certificate.json");
            let checked = check(&of(&file), &certificate, &host).unwrap();
            let claimed = made.certificates[0].bound;
            assert!(checked.verified && checked.bound == claimed, "{checked:?}");
            assert!((checked.proved / claimed - 1.0).abs() < 1e-9, "{bound}: {checked:?}");
            let refused = |settings: &Settings, clue: &str| {
                let why = check(settings, &certificate, &host).unwrap_err().to_string();
                assert!(why.contains(clue), "{bound}: {why}");
            };
            refused(&Settings { output_row: Some(2), ..of(&file) }, "`output-row`");
            refused(&Settings { activation: Some("relu".into()), ..of(&file) }, "`activation`");
            refused(&Settings { bound: Some("layer".into()), ..of(&file) }, "`bound`");
            refused(&Settings { tol: Some(1e-3), ..of(&file) }, "`tol`");
            let other = place.path().join("other");
            fs::create_dir_all(&other).unwrap();
            refused(&of(&archive(&other, weights(9))), "another network");
        }
    }
}

/// The product of norms that stands in for a failed proof is not called proved by the method's name.
#[test]
fn what_stands_in_for_a_failed_proof_is_said() {
    let place = tempfile::tempdir().unwrap();
    let file = archive(place.path(), vec![("W1", matrix(3, 2, 2.0)), ("W2", matrix(2, 3, 5.0))]);
    let settings = Settings { activation: Some("relu".into()), ..of(&file) };
    let net =
        read(&file, &ReadOptions { activation: Some("relu".into()), ..ReadOptions::default() }).unwrap().net;
    let product = net.certify(&LipSdp { bound: Bound::Product, ..LipSdp::default() }).unwrap();
    let stand_in = thalweg_lipsdp::Certificate { verified: false, method: "neuron".into(), ..product };
    let certificate = place.path().join("certificate.json");
    fs::write(&certificate, serde_json::to_string(&stand_in).unwrap()).unwrap();
    let checked = check(&settings, &certificate, &Host::default()).unwrap();
    assert!(!checked.verified && checked.json()["verified"] == false);
    assert!(checked.text().starts_with("not proved by neuron"), "{}", checked.text());
}

#[test]
fn the_sampled_lower_bound_can_be_left_out() {
    let place = tempfile::tempdir().unwrap();
    let file = archive(place.path(), vec![("W1", matrix(3, 2, 2.0)), ("W2", matrix(2, 3, 5.0))]);
    let of = |samples| {
        let settings = Settings { activation: Some("relu".into()), samples, ..of(&file) };
        certify(&settings, None, &Host::default()).unwrap().lower_bound
    };
    assert!(of(None).is_some() && of(Some(3)).is_some());
    assert_eq!(of(Some(0)), None);
}
