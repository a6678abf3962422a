//! Model files and descriptions: round trips, PyTorch's names, foreign files, malformed ones.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use thalweg_core::Seed;
use thalweg_net::{
    Graph, Init, Mask, Mode, Model, NetError, Normalize, Op, Pass, Preprocess, arch_or_file, default_init,
    initial, named,
};
use thalweg_testing::shared_data;

use crate::common::dot;

fn model(arch: &str, input: &[usize], classes: usize) -> Model {
    let graph = named(arch, input, classes).unwrap();
    let (theta, mut buffers) = initial::<f32>(&graph, &default_init(&graph), Seed(2)).unwrap();
    buffers.iter_mut().enumerate().for_each(|(i, b)| *b += 0.01 * (i % 7) as f32);
    Model {
        graph,
        theta,
        buffers,
        preprocess: "mean=0.1/0.2/0.3,std=0.5".parse().unwrap(),
        classes: vec!["Katze".into(), "\"dog\"\n".into()],
        features: vec!["petal length".into(), "\"b\"".into()],
        data: json!({ "split": "tail" }),
        training: json!({ "steps": 3, "method": "sgd" }),
    }
}

/// Writes a model's tensors under chosen names and in a chosen type.
fn export(model: &Model, dtype: Dtype, rename: impl Fn(&str) -> String, extra: &[(&str, Value)]) -> Vec<u8> {
    let (layout, buffers) = (model.graph.layout().unwrap(), model.graph.buffers().unwrap());
    let mut tensors = Vec::new();
    for (layout, values) in [(&layout, &model.theta), (&buffers, &model.buffers)] {
        for b in layout.blocks() {
            let values = &values[b.range()];
            let bytes: Vec<u8> = match dtype {
                Dtype::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
                Dtype::BF16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
                Dtype::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
                Dtype::F64 => values.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect(),
                _ => values.iter().flat_map(|&x| (x as i64).to_le_bytes()).collect(),
            };
            tensors.push((rename(&b.name), b.shape.clone(), bytes));
        }
    }
    tensors.push(("bn1.num_batches_tracked".into(), vec![], vec![0; dtype.bitsize() / 8]));
    let views = tensors.iter().map(|(n, s, b)| (n.clone(), TensorView::new(dtype, s.clone(), b).unwrap()));
    let notes = extra.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    safetensors::serialize(views, Some(notes)).unwrap()
}

fn put(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("m.safetensors");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn saved_models_come_back_and_equal_models_give_equal_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let nets = [
        ("resnet8:projection", &[8, 8, 3][..], 4),
        ("lenet", &[28, 28, 3], 10),
        ("cnn:2,6", &[8, 8, 3], 3),
        ("mlp:3-4-2:leaky-relu", &[3], 2),
        ("char-transformer:1,8,2,3", &[3], 5),
    ];
    for (arch, input, classes) in nets {
        let m = model(arch, input, classes);
        m.save(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(Model::load(&path).unwrap(), m, "{arch}");
        m.save(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes, "{arch}");
        SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no temporary file stays");
    }
}

#[test]
fn half_precision_is_read_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let m = model("resnet8", &[8, 8, 3], 4);
    for dtype in [Dtype::F16, Dtype::BF16] {
        let notes = [("graph", m.graph.to_json()), ("preprocess", json!(m.preprocess))];
        let path = put(folder.path(), &export(&m, dtype, str::to_string, &notes));
        let round = |x: &f32| {
            if dtype == Dtype::F16 { f16::from_f32(*x).to_f32() } else { bf16::from_f32(*x).to_f32() }
        };
        let loaded = Model::load(&path).unwrap();
        assert_eq!(loaded.theta, m.theta.iter().map(round).collect::<Vec<_>>());
        assert_eq!(loaded.buffers, m.buffers.iter().map(round).collect::<Vec<_>>());
        // Once rounded, the values survive our own format.
        loaded.save(&path).unwrap();
        assert_eq!(Model::load(&path).unwrap(), loaded);
    }
}

#[test]
fn pytorch_names_and_orders() {
    let layout = |arch: &str, input: &[usize]| named(arch, input, 10).unwrap().layout().unwrap();
    let resnet = layout("resnet20:projection", &[32, 32, 3]);
    assert_eq!(resnet.len(), 272_474);
    assert_eq!(resnet.get("layer2.0.conv1.weight").unwrap().shape, [32, 16, 3, 3]);
    assert_eq!(resnet.get("layer3.0.downsample.0.weight").unwrap().shape, [64, 32, 1, 1]);
    assert!(
        resnet.get("layer1.2.bn2.bias").is_some() && resnet.get("layer1.0.downsample.0.weight").is_none()
    );
    assert_eq!(layout("resnet20", &[32, 32, 3]).len(), 269_722);
    assert_eq!(layout("lenet", &[28, 28, 1]).get("fc1.weight").unwrap().shape, [64, 400]);
    for (depth, d) in [(1, 730), (2, 3700), (3, 6670), (4, 9640), (5, 12610)] {
        assert_eq!(layout(&format!("cnn:{depth},18"), &[32, 32, 3]).len(), d);
    }
    assert_eq!(layout("cnn:depth=2,width=8", &[8, 8, 1]).len(), 786);
}

#[test]
fn foreign_names_are_understood() {
    let folder = tempfile::tempdir().unwrap();
    let m = model("resnet8:projection", &[8, 8, 3], 4);
    let rename =
        |n: &str| format!("module.{}", n.replace("fc.", "linear.").replace("downsample", "shortcut"));
    let path = put(folder.path(), &export(&m, Dtype::F32, rename, &[]));
    let loaded = Model::load_foreign(&path, m.graph.clone(), m.preprocess.clone()).unwrap();
    assert_eq!((loaded.theta, loaded.buffers), (m.theta, m.buffers));
}

#[test]
fn a_prefix_that_all_tensors_share_is_dropped_and_doubles_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let m = model("mlp:3-4-2", &[3], 2);
    for prefix in ["", "_orig_mod.", "model.", "state_dict.model.", "module._orig_mod."] {
        for dtype in [Dtype::F32, Dtype::F64] {
            let bytes = export(&m, dtype, |name| format!("{prefix}{name}"), &[]);
            let path = put(folder.path(), &bytes);
            let loaded = Model::load_foreign(&path, m.graph.clone(), m.preprocess.clone()).unwrap();
            assert_eq!(loaded.theta, m.theta, "{prefix} {dtype}");
            let said = loaded.training.get("dropped_prefix").and_then(Value::as_str);
            assert_eq!(said, Some(prefix).filter(|p| !p.is_empty()));
        }
    }
    // Behind one tensor's prefix alone nothing is dropped.
    let odd = |name: &str| if name == "fc1.bias" { name.into() } else { format!("model.{name}") };
    let path = put(folder.path(), &export(&m, Dtype::F32, odd, &[]));
    let e = Model::load_foreign(&path, m.graph.clone(), m.preprocess.clone()).unwrap_err().to_string();
    assert!(e.contains("model.fc1.weight"), "{e}");
    let mut large = export(&m, Dtype::F64, str::to_string, &[]);
    let at = large.len() - 8 * m.theta.len();
    large[at + 7] = 0x7e;
    let path = put(folder.path(), &large);
    let e = Model::load_foreign(&path, m.graph, m.preprocess).unwrap_err().to_string();
    assert!(e.contains("too large for F32"), "{e}");
}

#[test]
fn a_scale_that_is_left_open_depends_on_the_data() {
    let open: Normalize = "mean=0.5,std=0.25".parse().unwrap();
    assert_eq!((open.of(true).scale, open.of(false).scale), (1.0 / 255.0, 1.0));
    let told: Normalize = "mean=0.5,std=0.25,scale=2".parse().unwrap();
    assert_eq!((told.of(true).scale, told.of(false).scale), (2.0, 2.0));
    // Settings keep what was decided.
    let text = toml::to_string(&Normalize::from(open.of(true))).unwrap();
    assert_eq!(toml::from_str::<Normalize>(&text).unwrap().of(false), open.of(true));
}

/// What docs/models.md shows is a network.
#[test]
fn the_documented_layers_are_read() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/models.md")).unwrap();
    let blocks: Vec<&str> = text.split("```toml\n").skip(1).map(|b| b.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 2);
    for block in blocks {
        let graph = Graph::from_toml(block).unwrap_or_else(|e| panic!("{e} in\n{block}"));
        assert!(graph.layout().unwrap().len() > 100);
        graph.shapes().unwrap();
    }
}

#[test]
fn malformed_files_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let m = model("resnet8", &[8, 8, 3], 4);
    let notes = || vec![("graph", m.graph.to_json()), ("preprocess", json!(m.preprocess))];
    let good = export(&m, Dtype::F32, str::to_string, &notes());
    let with = |f: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        f(&mut bytes);
        bytes
    };
    let graph = |edit: &dyn Fn(&mut Value)| {
        let mut notes = notes();
        edit(&mut notes[0].1);
        export(&m, Dtype::F32, str::to_string, &notes)
    };
    let wider = |v: &mut Value| v["layers"].as_array_mut().unwrap().last_mut().unwrap()["out"] = 5.into();
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (vec![], &["ends after 0 bytes"]),
        (b"short".to_vec(), &["ends after 5 bytes"]),
        (b"\x89PNG\r\n\x1a\nnot a model".to_vec(), &["header of", "truncated or not safetensors"]),
        (with(&|b| b.truncate(100)), &["header of", "has 100 bytes"]),
        (with(&|b| b.truncate(b.len() - 4)), &["truncated"]),
        (with(&|b| b.push(0)), &["appended"]),
        (with(&|b| b[8] = b'?'), &["corrupt header at byte 8"]),
        (with(&|b| b[30] = 0xff), &["corrupt header at byte 30", "UTF-8"]),
        (
            export(&m, Dtype::F32, str::to_string, &[]),
            &["no `graph`", "architecture", "normalisation", "load_foreign"],
        ),
        (export(&m, Dtype::F32, str::to_string, &notes()[..1]), &["no `preprocess`"]),
        (export(&m, Dtype::I64, str::to_string, &notes()), &["type I64", "F64, F32, F16 or BF16"]),
        (
            export(&m, Dtype::F32, |n| n.replace("fc", "top"), &notes()),
            &["missing `fc.weight`, `fc.bias`", "`top."],
        ),
        (
            export(&m, Dtype::F32, |n| n.replace("bn1.running", "q"), &notes()),
            &["missing", "running_mean", "more"],
        ),
        (graph(&wider), &["`fc.weight`", "[4, 64]", "[5, 64]"]),
        (
            graph(&|v| v["layers"][0]["op"] = "convolution".into()),
            &["layer `conv1`", "unknown variant", "`conv2d`"],
        ),
        (
            graph(&|v| v["layers"][0]["kernel"] = 3.into()),
            &["layer `conv1`", "unknown field `kernel`", "`stride`"],
        ),
        (graph(&|v| v["layers"][1]["inputs"] = json!(["nowhere"])), &["layer `bn1`", "`nowhere`"]),
        (graph(&|v| v["layers"][0]["out"] = 999_999_999_999u64.into()), &["layer `conv1`", "absurdly large"]),
        (graph(&|v| v["input"] = json!([8, 8, 1])), &["channels"]),
        (graph(&|v| v["colour"] = 1.into()), &["unknown field `colour`"]),
        (b"\xfd7zXZ\0 and then nonsense".to_vec(), &["corrupt xz data"]),
    ];
    for (bytes, words) in cases {
        let message = Model::load(put(folder.path(), &bytes)).unwrap_err().to_string();
        assert!(message.contains("m.safetensors") && !message.contains('\n'), "{message}");
        for word in words {
            assert!(message.contains(word), "`{word}` is not in: {message}");
        }
    }
    let message = Model::load(folder.path().join("absent")).unwrap_err().to_string();
    assert!(message.contains("absent: it cannot be read"), "{message}");
    let message = m.save(folder.path().join("no/such/folder")).unwrap_err().to_string();
    assert!(message.contains("cannot be written"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn damaged_files_never_panic(cut in 0usize..6000, flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 0..4)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        model("cnn:1,2", &[4, 4, 3], 2).save(&path).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        bytes.truncate(if cut % 2 == 0 { bytes.len() } else { cut });
        fs::write(&path, bytes).unwrap();
        if let Ok(m) = Model::load(&path) {
            // Flipped weights are still weights.
            prop_assert_eq!(m.theta.len(), m.graph.layout().unwrap().len());
        }
    }
}

#[test]
fn graphs_survive_toml_and_json() {
    let folder = tempfile::tempdir().unwrap();
    for (arch, input) in
        [("resnet8:projection", &[8, 8, 3][..]), ("mlp:6-4-4-2:maxmin", &[6]), ("mlp:6-4-2:leaky-relu", &[6])]
    {
        let graph = named(arch, input, 2).unwrap();
        let (as_toml, as_json) = (folder.path().join("g.toml"), folder.path().join("g.json"));
        fs::write(&as_toml, toml::to_string(&graph.to_json()).unwrap()).unwrap();
        fs::write(&as_json, graph.to_json().to_string()).unwrap();
        assert_eq!(arch_or_file(as_toml.to_str().unwrap(), input, 2).unwrap(), graph);
        assert_eq!(arch_or_file(as_json.to_str().unwrap(), input, 2).unwrap(), graph);
        let misfit = arch_or_file(as_toml.to_str().unwrap(), input, 3).unwrap_err().to_string();
        assert!(misfit.contains("3 classes") || misfit.contains("3 outputs"), "{misfit}");
    }
    let text = "input = [28, 28, 1]\n[[layer]]\nop = \"conv2d\"\nout = 4\nk = [3, 3]\n\
                [[layer]]\nop = \"flatten\"\n[[layer]]\nname = \"fc\"\nop = \"linear\"\nout = 10\n";
    let graph = Graph::from_toml(text).unwrap();
    assert_eq!(graph.nodes[0].name, "0");
    assert_eq!(graph.layout().unwrap().get("fc.weight").unwrap().shape, [10, 26 * 26 * 4]);
    for (from, to, words) in [
        ("conv2d", "conv3d", "unknown variant `conv3d`"),
        ("out = 4", "outs = 4", "unknown field `outs`"),
        ("out = 4\n", "", "missing field `out`"),
        ("k = [3, 3]", "k = [33, 33]", "does not fit"),
        ("k = [3, 3]", "k = [3, 3", "line"),
        ("name = \"fc\"", "name = 7", "not a string"),
        ("name = \"fc\"", "name = \"0\"", "has this name"),
        ("input = [28, 28, 1]", "input = [28, -28, 1]", "whole numbers"),
        ("input = [28, 28, 1]", "", "whole numbers"),
    ] {
        let message = Graph::from_toml(&text.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn architecture_names_are_checked() {
    for (arch, words) in [
        ("vgg", "unknown; use `mlp"),
        ("mlp:64-x-10", "positive whole numbers"),
        ("mlp", "positive whole numbers"),
        ("mlp:100-128-10", "write `mlp:192-128-10`"),
        ("mlp:192-10:step", "unknown variant `step`"),
        ("resnet21", "6n + 2"),
        ("resnet20:option-b", "`option-a` or `projection`"),
        ("cnn:0,8", "positive whole numbers depth,width"),
        ("cnn:9,8", "does not fit"),
        ("char-transformer:2,64,4,64", "needs [64]"),
        ("nowhere.toml", "nowhere.toml"),
    ] {
        let message = arch_or_file(arch, &[8, 8, 3], 10).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn normalisations_are_parsed() {
    let p: Preprocess = "mean=0.485/0.456/0.406,std=0.229:0.224:0.225".parse().unwrap();
    assert_eq!((p.mean[2], p.std[1], p.scale), (0.406, 0.224, 1.0 / 255.0));
    let p: Preprocess = "std=0.5,mean=0.1;0.2,scale=1".parse().unwrap();
    let mut out = [0.0; 4];
    p.apply(&[0.1f32, 0.2, 0.6, 0.7], 2, &mut out).unwrap();
    assert_eq!(out, [0.0, 0.0, 1.0, 1.0]);
    assert!(p.apply(&[0.0f32; 6], 3, &mut [0.0; 6]).unwrap_err().to_string().contains("2 values"));
    for bad in [
        "mean=0.5,std=0",
        "mean=nan,std=1",
        "mean=a,std=1",
        "std",
        "sigma=1",
        "mean=1/2,std=1/2/3",
        "scale=1/2",
        "",
    ] {
        assert!(matches!(bad.parse::<Preprocess>(), Err(NetError::Preprocess(_))), "{bad}");
    }
}

/// Logits in evaluation mode, by batches of 50.
fn logits(model: &Model, raw: &[u8]) -> Vec<f32> {
    let (net, mut pass) = (model.net().unwrap(), Pass::default());
    let size: usize = net.input_shape().iter().product();
    let mut all = Vec::new();
    for raw in raw.chunks(50 * size) {
        let mut x = vec![0.0; raw.len()];
        model.preprocess.apply(raw, 3, &mut x).unwrap();
        all.extend_from_slice(pass.forward(&net, &model.theta, &model.buffers, &x, Mode::Eval).unwrap());
    }
    all
}

fn correct(logits: &[f32], labels: &[usize]) -> usize {
    let classes = logits.len() / labels.len();
    let best = |row: &[f32]| (0..classes).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    logits.chunks(classes).zip(labels).filter(|(row, label)| best(row) == **label).count()
}

/// The first 400 test images of CIFAR-10, rows of RGB pixels.
fn cifar() -> Option<(Vec<u8>, Vec<usize>)> {
    let mut bytes = Vec::new();
    let file = fs::File::open(shared_data("vision/cifar10-devtest-400.bin.gz")?).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 400 * 3073);
    let records = bytes.chunks(3073);
    let pixels = records.clone().flat_map(|r| (0..3072).map(|i| r[1 + i % 3 * 1024 + i / 3])).collect();
    Some((pixels, records.map(|r| r[0].into()).collect()))
}

#[test]
fn trained_resnets_reach_their_accuracies() {
    let Some((images, labels)) = cifar() else { return };
    for (file, arch, normalisation) in [
        // 90.7 % on the first 1000 test images.
        ("mfac/resnet20-cifar10.safetensors", "resnet20:projection", "mean=0.5,std=0.5"),
        // 91.7 % on all 10 000.
        ("deepzero/resnet20_cifar10.safetensors", "resnet20", "mean=0.485/0.456/0.406,std=0.229/0.224/0.225"),
    ] {
        let Some(path) = shared_data(file) else { return };
        let graph = named(arch, &[32, 32, 3], 10).unwrap();
        let model = Model::load_foreign(&path, graph, normalisation.parse().unwrap()).unwrap();
        let hits = correct(&logits(&model, &images), &labels);
        println!("{file}: {hits} of 400 right");
        // Three standard deviations of 400 draws are 17 images.
        assert!((350..=384).contains(&hits), "{file}: {hits}");
    }
}

#[test]
fn reference_logits_of_a_trained_resnet() {
    let Some(check) = shared_data("deepzero/resnet20_check.safetensors") else { return };
    let Some(path) = shared_data("deepzero/resnet20_cifar10.safetensors") else { return };
    let bytes = fs::read(check).unwrap();
    let check = SafeTensors::deserialize(&bytes).unwrap();
    let (expected, images) = (check.tensor("logits").unwrap(), check.tensor("images").unwrap());
    let graph = named("resnet20", &[32, 32, 3], 10).unwrap();
    let normalisation = "mean=0.485/0.456/0.406,std=0.229/0.224/0.225".parse().unwrap();
    let model = Model::load_foreign(&path, graph, normalisation).unwrap();
    let found = logits(&model, images.data());
    let expected = expected.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b));
    let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("largest difference of logits: {error:e}");
    assert!(error <= 1e-3, "{error}");
}

#[test]
fn shared_mobile_networks_load_and_classify() {
    let unpack = |name: &str| {
        let mut bytes = Vec::new();
        let file = fs::File::open(shared_data(name)?).unwrap();
        lzma_rust2::XzReader::new(file, false).read_to_end(&mut bytes).unwrap();
        Some(bytes)
    };
    let Some(bytes) = unpack("quadattack/images_targets.safetensors.xz") else { return };
    let pictures = SafeTensors::deserialize(&bytes).unwrap();
    let labels = pictures.tensor("label").unwrap();
    let labels: Vec<usize> =
        labels.data().as_chunks().0.iter().map(|&b| i32::from_le_bytes(b) as usize).collect();
    for (name, images, n) in [
        ("v1_0.25_128", "images_128", 40),
        ("v1_0.5_160", "images_160", 20),
        ("v2_1.0_224", "images_224", 12),
    ] {
        let Some(path) = shared_data(&format!("quadattack/mobilenet_{name}.safetensors.xz")) else { return };
        let model = Model::load(&path).unwrap();
        let images = pictures.tensor(images).unwrap();
        let found = logits(&model, images.data());
        assert_eq!(
            correct(&found, &labels[..n]),
            n,
            "{name}: all of these pictures are known to be classified"
        );
        let again = Graph::from_json(&model.graph.to_json()).unwrap();
        assert_eq!(again, model.graph);
    }
}

#[test]
fn orthogonal_start_of_convolutions_is_a_model_too() {
    let graph = named("cnn:1,4", &[4, 4, 3], 2).unwrap();
    let (theta, _) = initial::<f64>(&graph, &Init::Orthogonal, Seed(1)).unwrap();
    assert!(matches!(graph.nodes[0].op, Op::Conv2d { .. }));
    let rows: Vec<&[f64]> = theta[..4 * 27].chunks(27).collect();
    assert!((dot(rows[0], rows[0]) - 1.0).abs() < 1e-12 && dot(rows[1], rows[3]).abs() < 1e-12);
}

#[test]
fn masks_survive_a_file_and_refuse_another_net() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mask.safetensors");
    let layout = named("mlp:3-4-2", &[3], 2).unwrap().layout().unwrap();
    let mask = Mask((0..layout.len()).map(|i| i % 3 != 0).collect());
    mask.save(&layout, &file).unwrap();
    assert_eq!(Mask::load(&layout, &file).unwrap(), mask);
    let other = named("mlp:3-5-2", &[3], 2).unwrap().layout().unwrap();
    let error = Mask::load(&other, &file).unwrap_err().to_string();
    assert!(error.contains("mask.safetensors") && error.contains("[5, 3]"), "{error}");
    assert!(mask.save(&other, &file).is_err());
    fs::write(&file, b"junk").unwrap();
    assert!(Mask::load(&layout, &file).unwrap_err().to_string().contains("no mask"));
}
