//! Malformed input of every kind: one clear line on standard error, exit code 2, no panic.

mod common;

use std::fs;
use std::path::Path;

use common::{csv, errors, folder, idx, run, succeed};

/// A command that cannot work, and what its message must say.
type Case = (&'static str, &'static [&'static str]);

/// What is wrong with the answer to a case.
fn complaint(place: &Path, (line, clues): &Case) -> Option<String> {
    let output = run(place, line);
    let said = errors(&output);
    let lines = said.lines().filter(|l| !l.trim().is_empty()).count();
    // clap adds its usual hints on the usage.
    let usage = said.contains("For more information, try '--help'.");
    let complaint = match clues.iter().find(|clue| !said.contains(**clue)) {
        _ if output.status.code() != Some(2) => format!("exit code {:?}", output.status.code()),
        _ if said.contains("panicked") || said.contains("internal error") => "a panic".into(),
        _ if !output.stdout.is_empty() => "standard output is not empty".into(),
        _ if !said.starts_with("error: ") => "no error".into(),
        _ if lines != 1 && !usage => format!("{lines} lines"),
        Some(clue) => format!("{clue:?} is missing"),
        None => return None,
    };
    Some(format!("thalweg {line}\n  {complaint} in: {said}"))
}

/// Every case is one call of the program with `--quiet`.
fn check_all(place: &Path, cases: &[Case]) {
    let complaints: Vec<String> = cases.iter().filter_map(|case| complaint(place, case)).collect();
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), cases.len(), complaints.join("\n"));
}

#[test]
fn damaged_data() {
    let images = idx(&[4, 2, 2], &[7; 16]);
    let labels = idx(&[4], &[0, 1, 0, 1]);
    let good = csv(12, |a, _| if a > 0.0 { "up".into() } else { "down".into() });
    let place = folder(&[
        ("short/train-images-idx3-ubyte", &images[..20]),
        ("short/train-labels-idx1-ubyte", &labels),
        ("magic/train-images-idx3-ubyte", b"\x00\x01\x02\x03 not idx"),
        ("magic/train-labels-idx1-ubyte", &labels),
        ("swapped/train-images-idx3-ubyte", &labels),
        ("swapped/train-labels-idx1-ubyte", &labels),
        ("count/train-images-idx3-ubyte", &images),
        ("count/train-labels-idx1-ubyte", &idx(&[3], &[0, 1, 0])),
        ("alone/train-images-idx3-ubyte", &images),
        ("none/train-images-idx3-ubyte", &idx(&[0, 2, 2], &[])),
        ("none/train-labels-idx1-ubyte", &idx(&[0], &[])),
        ("nan.csv", b"a,b,label\n1,2,0\n1,NaN,1\n"),
        ("word.csv", b"a,b,label\n1,2,0\n1,two,1\n"),
        ("ragged.csv", b"a,b,label\n1,2,0\n1,1\n"),
        ("unlabelled.csv", b"a,b,c\n1,2,0\n1,1,1\n"),
        ("headless.csv", b"1,2,0\n1,1,1\n"),
        ("twice.csv", b"a,a,label\n1,2,0\n1,1,1\n"),
        ("header.csv", b"a,b,label\n"),
        ("one.csv", b"a,b,label\n1,2,0\n"),
        ("latin.csv", b"a,b,label\n1,2,caf\xe9\n"),
        ("good.csv", good.as_bytes()),
        ("other.csv", b"a,c,label\n1,2,up\n"),
        ("unseen.csv", b"a,b,label\n1,2,sideways\n"),
        ("empty.csv", b""),
        ("empty.txt", b""),
        ("cut.bin", &[0; 5000]),
        ("label.bin", &[200; 3073]),
        ("broken.csv.gz", b"\x1f\x8b\x08\x00 this is no gzip"),
        ("broken.npz", b"PK\x03\x04 this is no zip"),
        ("broken.npy", b"\x93NUMPY\x01\x00 this is no array"),
        ("what.xyz", b"hello"),
        ("mixed/a.csv", good.as_bytes()),
        ("mixed/b.txt", b"some text"),
        ("several/a.csv", good.as_bytes()),
        ("several/b.csv", good.as_bytes()),
        ("notes/README.md", b"nothing here"),
        ("tiny.txt", b"abcabcabcabc"),
    ]);
    check_all(
        place.path(),
        &[
            (
                "train --quiet --model mlp:4-2 --data short",
                &["train-images-idx3-ubyte", "promises 16 bytes", "has 4"],
            ),
            ("train --quiet --model mlp:4-2 --data magic", &["train-images-idx3-ubyte", "byte 0", "IDX"]),
            ("train --quiet --model mlp:4-2 --data swapped", &["dimensions", "images"]),
            ("train --quiet --model mlp:4-2 --data count", &["3 labels for 4 examples"]),
            (
                "train --quiet --model mlp:4-2 --data alone",
                &["no labels beside it", "train-labels-idx1-ubyte"],
            ),
            ("train --quiet --model mlp:4-2 --data none", &["empty"]),
            ("train --quiet --model mlp:2-2 --data nan.csv", &["nan.csv", "line 3", "\"b\"", "NaN"]),
            ("train --quiet --model mlp:2-2 --data word.csv", &["word.csv", "line 3", "\"two\""]),
            ("train --quiet --model mlp:2-2 --data ragged.csv", &["ragged.csv", "line 3", "2 cells", "3"]),
            ("train --quiet --model mlp:2-2 --data unlabelled.csv", &["no column", "a, b, c"]),
            (
                "train --quiet --model mlp:2-2 --data good.csv --label colour",
                &["no column \"colour\"", "a, b, label"],
            ),
            ("train --quiet --model mlp:2-2 --data headless.csv", &["line 1", "header line is missing"]),
            ("train --quiet --model mlp:2-2 --data twice.csv", &["\"a\" occurs twice"]),
            ("train --quiet --model mlp:2-2 --data header.csv", &["header.csv", "empty"]),
            ("train --quiet --model mlp:2-2 --data one.csv", &["only one example"]),
            ("train --quiet --model mlp:2-2 --data latin.csv", &["line 2", "UTF-8"]),
            (
                "train --quiet --model mlp:2-2 --data good.csv --test other.csv",
                &["other.csv", "a, c", "a, b"],
            ),
            ("train --quiet --model mlp:2-2 --data good.csv --test unseen.csv", &["unseen.csv", "sideways"]),
            (
                "train --quiet --model mlp:2-2 --data good.csv --test nowhere.csv",
                &["nowhere.csv", "cannot be read"],
            ),
            ("train --quiet --model mlp:2-2 --data empty.csv", &["empty.csv", "empty"]),
            ("train --quiet --model char-transformer:1,16,2,16 --data empty.txt", &["empty.txt", "empty"]),
            ("train --quiet --model resnet8 --data cut.bin", &["5000 bytes", "CIFAR", "3073"]),
            ("train --quiet --model resnet8 --data label.bin", &["byte 0", "label 200", "0 to 9"]),
            ("train --quiet --model mlp:2-2 --data broken.csv.gz", &["broken.csv.gz", "damaged gzip"]),
            ("train --quiet --model mlp:2-2 --data broken.npz", &["broken.npz", "damaged npz"]),
            ("train --quiet --model mlp:2-2 --data broken.npy", &["broken.npy"]),
            ("train --quiet --model mlp:2-2 --data what.xyz", &["what.xyz", "unknown kind", ".csv"]),
            (
                "train --quiet --model mlp:2-2 --data nowhere",
                &["nowhere", "cannot be read", "check the path"],
            ),
            ("train --quiet --model mlp:2-2 --data mixed", &["more than one kind", "a.csv", "b.txt"]),
            ("train --quiet --model mlp:2-2 --data several", &["several files", "a.csv", "b.csv"]),
            ("train --quiet --model mlp:2-2 --data notes", &["no data in this folder", "README.md"]),
            ("train --quiet --model mlp:64-10 --data digits --label x", &["label", "does not apply"]),
            (
                "train --quiet --model char-transformer:1,16,2,16 --data tiny.txt",
                &["characters", "context needs 17"],
            ),
            ("train --quiet --model mlp:4-3 --data tiny.txt", &["mlp:4-3"]),
            ("train --quiet --model mlp:1-3 --data tiny.txt", &["[]"]),
            ("train --quiet --model lenet --data tiny.txt", &["[]"]),
        ],
    );
}

#[test]
fn impossible_models() {
    let place = folder(&[
        ("layer.toml", b"input = [8, 8, 1]\n[[layer]]\nop = \"flatten\"\n[[layer]]\nname = \"l\"\nop = \"linaer\"\nout = 10\n"),
        ("field.toml", b"input = [8, 8, 1]\n[[layer]]\nop = \"flatten\"\n[[layer]]\nname = \"l\"\nop = \"linear\"\nout = 10\nbais = true\n"),
        ("syntax.toml", b"input = [8, 8, 1]\n[[layer]\n"),
        ("outputs.toml", b"input = [8, 8, 1]\n[[layer]]\nop = \"flatten\"\n[[layer]]\nop = \"linear\"\nout = 7\n"),
        ("input.toml", b"input = [9, 9, 1]\n[[layer]]\nop = \"flatten\"\n[[layer]]\nop = \"linear\"\nout = 10\n"),
        ("conv.toml", b"input = [8, 8, 1]\n[[layer]]\nname = \"big\"\nop = \"conv2d\"\nout = 4\nk = [11, 11]\n[[layer]]\nop = \"flatten\"\n[[layer]]\nop = \"linear\"\nout = 10\n"),
    ]);
    check_all(
        place.path(),
        &[
            ("train --quiet --data digits --model layer.toml", &["layer.toml", "`l`", "linaer"]),
            ("train --quiet --data digits --model field.toml", &["field.toml", "`l`", "bais"]),
            ("train --quiet --data digits --model syntax.toml", &["syntax.toml", "line 2"]),
            ("train --quiet --data digits --model nowhere.toml", &["nowhere.toml"]),
            ("train --quiet --data digits --model outputs.toml", &["outputs.toml", "7", "10 outputs"]),
            ("train --quiet --data digits --model input.toml", &["input.toml", "[9, 9, 1]", "[8, 8, 1]"]),
            ("train --quiet --data digits --model conv.toml", &["big"]),
            ("train --quiet --data digits --model mlp:63-128-10", &["mlp:63-128-10", "64"]),
            ("train --quiet --data digits --model mlp:64-128-9", &["mlp:64-128-9", "10"]),
            ("train --quiet --data digits --model mlp:64-x-10", &["mlp:64-x-10"]),
            ("train --quiet --data digits --model mlp:64-0-10", &["mlp:64-0-10"]),
            ("train --quiet --data digits --model mlp:64-10:reul", &["reul"]),
            ("train --quiet --data digits --model perceptron", &["perceptron", "unknown", "mlp:64-128-10"]),
            ("train --quiet --data digits --model resnet9", &["resnet9"]),
            ("train --quiet --data digits --model cnn:9,8", &["pool4", "window of 2"]),
            ("train --quiet --data digits --model char-transformer:1,16,2,16", &["char-transformer"]),
            ("train --quiet --data digits", &["--model"]),
            ("train --quiet --model mlp:64-10", &["--data"]),
        ],
    );
}

#[test]
fn settings_out_of_range() {
    let place = folder(&[
        ("file", b"not a folder"),
        ("key.toml", b"data = \"digits\"\nmodel = \"mlp:64-10\"\nlearning-rate = 0.1\n"),
        ("syntax.toml", b"data = digits\n"),
        ("type.toml", b"data = \"digits\"\nmodel = \"mlp:64-10\"\nbatch = \"many\"\n"),
        ("field.toml", b"data = \"digits\"\nmodel = \"mlp:64-10\"\n[methods.adahessian]\nrate = 1.0\n"),
        ("t.csv", csv(12, |a, _| if a > 0.0 { "up".into() } else { "down".into() }).as_bytes()),
    ]);
    check_all(
        place.path(),
        &[
            ("train --quiet --data digits --model mlp:64-10 --lr -0.1", &["lr = -0.1"]),
            ("train --quiet --data digits --model mlp:64-10 --lr nan", &["lr"]),
            ("train --quiet --data digits --model mlp:64-10 --lr inf --method adam", &["lr"]),
            ("train --quiet --data digits --model mlp:64-10 --lr fast", &["--lr", "fast"]),
            ("train --quiet --data digits --model mlp:64-10 --betas 0.9,1.0", &["beta", "1", "[0, 1)"]),
            (
                "train --quiet --data digits --model mlp:64-10 --betas 0.9,1.5 --method adam",
                &["betas", "1.5", "[0, 1)"],
            ),
            ("train --quiet --data digits --model mlp:64-10 --betas 0.9", &["betas", "length 1"]),
            ("train --quiet --data digits --model mlp:64-10 --eps -1", &["eps = -1"]),
            ("train --quiet --data digits --model mlp:64-10 --weight-decay -1", &["weight_decay = -1"]),
            (
                "train --quiet --data digits --model mlp:64-10 --momentum 1 --method sgd",
                &["momentum = 1", "[0, 1)"],
            ),
            ("train --quiet --data digits --model mlp:64-10 --momentum 0.9", &["momentum", "adahessian"]),
            ("train --quiet --data digits --model mlp:64-10 --probes 0", &["probes = 0", "at least 1"]),
            ("train --quiet --data digits --model mlp:64-10 --hessian-every 0", &["hessian_every = 0"]),
            (
                "train --quiet --data digits --model mlp:64-10 --hessian-power 2",
                &["hessian_power = 2", "[0, 1]"],
            ),
            ("train --quiet --data digits --model mlp:64-10 --average mean", &["mean", "signed"]),
            ("train --quiet --data digits --model mlp:64-10 --probe cauchy", &["cauchy", "gaussian"]),
            (
                "train --quiet --data digits --model mlp:64-10 --method newton",
                &["newton", "adahessian, sgd, adam"],
            ),
            ("train --quiet --data digits --model mlp:64-10 --compare sgd,newton", &["newton"]),
            ("train --quiet --data digits --model mlp:64-10 --compare sgd,sgd", &["sgd", "twice"]),
            (
                "train --quiet --data digits --model mlp:64-10 --compare sgd --method adam",
                &["--compare", "--method"],
            ),
            ("train --quiet --data digits --model mlp:64-10 --set beta3=1", &["beta3"]),
            ("train --quiet --data digits --model mlp:64-10 --set lr", &["--set lr", "FIELD=VALUE"]),
            ("train --quiet --data digits --model mlp:64-10 --set lr=quick", &["lr", "quick"]),
            ("train --quiet --data digits --model mlp:64-10 --compare sgd,adam --set beta3=1", &["beta3"]),
            ("train --quiet --data digits --model mlp:64-10 --set newton.lr=1", &["newton"]),
            ("train --quiet --data digits --model mlp:64-10 --block linear=column", &["column", "row"]),
            ("train --quiet --data digits --model mlp:64-10 --block nonsense=row", &["nonsense"]),
            ("train --quiet --data digits --model mlp:64-10 --block linear", &["linear", "key=rule"]),
            ("train --quiet --data digits --model mlp:64-10 --schedule wavy", &["wavy", "cosine"]),
            ("train --quiet --data digits --model mlp:64-10 --schedule step:50%:-1", &["schedule", "factor"]),
            ("train --quiet --data digits --model mlp:64-10 --batch 0", &["batch = 0", "at least 1"]),
            ("train --quiet --data digits --model mlp:64-10 --limit 0", &["limit"]),
            ("train --quiet --data digits --model mlp:64-10 --epochs many", &["--epochs", "many"]),
            ("train --quiet --data digits --model mlp:64-10 --epochs 2 --steps 3", &["--epochs", "--steps"]),
            ("train --quiet --data digits --model mlp:64-10 --checkpoint-every 0", &["checkpoint", "0"]),
            (
                "train --quiet --data digits --model mlp:64-10 --label-smoothing 2",
                &["label-smoothing = 2", "[0, 1)"],
            ),
            ("train --quiet --data digits --model mlp:64-10 --label-smoothing nan", &["label-smoothing"]),
            ("train --quiet --data digits --model mlp:64-10 --time soon", &["soon", "30s"]),
            ("train --quiet --data digits --model mlp:64-10 --time=-3s", &["-3s", "30s"]),
            ("train --quiet --data digits --model mlp:64-10 --init magic", &["magic", "xavier"]),
            ("train --quiet --data digits --model mlp:64-10 --init normal:nan", &["normal"]),
            ("train --quiet --data digits --model mlp:64-10 --augment rotate", &["rotate", "pad=4,flip"]),
            ("train --quiet --data digits --model mlp:64-10 --augment pad=-1", &["pad"]),
            ("train --quiet --data digits --model mlp:64-10 --augment pad=99999999999999", &["pad"]),
            ("train --quiet --data t.csv --model mlp:2-2 --augment flip", &["augmentation needs images"]),
            ("train --quiet --data digits --model mlp:64-10 --normalize std=0", &["std = 0", "above 0"]),
            (
                "train --quiet --data digits --model mlp:64-10 --normalize mean=1/2/3",
                &["mean has 3 values", "1 channel"],
            ),
            ("train --quiet --data digits --model mlp:64-10 --threads 0", &["threads = 0", "at least 1"]),
            ("train --quiet --data digits --model mlp:64-10 --seed -1", &["-1"]),
            ("train --quiet --data digits --model mlp:64-10 --method lbfgs", &["lbfgs", "--batch to 1437"]),
            ("train --quiet --data digits --model mlp:64-10 --out file", &["output folder file"]),
            (
                "train --quiet --data digits --model mlp:64-10 --out file/run",
                &["output folder file/run", "--out"],
            ),
            ("train --quiet --config key.toml", &["key.toml", "learning-rate"]),
            ("train --quiet --config syntax.toml", &["syntax.toml", "line 1"]),
            ("train --quiet --config type.toml", &["type.toml", "batch"]),
            ("train --quiet --config field.toml", &["adahessian", "rate"]),
            ("train --quiet --config nowhere.toml", &["nowhere.toml"]),
            ("minimize --quiet --function bowl --start=1,1", &["bowl", "rosenbrock"]),
            ("minimize --quiet --function rosenbrock --start=1,x", &["--start", "x"]),
            ("minimize --quiet --function rosenbrock --start=1", &["rosenbrock", "2"]),
            ("minimize --quiet --function rosenbrock --start=nan,1", &["start", "finite"]),
            ("minimize --quiet --command prog{x}", &["dim", "start"]),
            ("minimize --quiet --function rosenbrock --start=1,2 --method newton", &["newton", "lbfgs"]),
            ("minimize --quiet --function rosenbrock --start=1,2 --tol nan", &["tol"]),
            ("minimize --quiet --function rosenbrock --start=1,2 --lr -1", &["lr = -1"]),
            ("minimize --quiet --function rosenbrock --start=1,2 --set speed=9", &["speed"]),
            ("tour --quiet --out file/tour", &["output folder file/tour"]),
            ("fly", &["fly"]),
            ("train --fly", &["--fly"]),
        ],
    );
}

#[test]
fn models_that_do_not_fit() {
    let words = csv(12, |a, _| if a > 0.0 { "up".into() } else { "down".into() });
    let place = folder(&[
        ("t.csv", words.as_bytes()),
        ("other.csv", b"a,c,label\n1,2,up\n1,2,down\n"),
        ("left.csv", b"a,b,label\n1,2,left\n1,2,up\n"),
        ("numbers.csv", b"a,b,label\n1,2,0.5\n1,2,0.7\n"),
        ("a.txt", "abcd ".repeat(30).as_bytes()),
        ("b.txt", "abxd ".repeat(30).as_bytes()),
        ("s.txt", b"abcd"),
        ("file", b"not a folder"),
        ("length.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"),
        ("short.safetensors", b"abc"),
        ("header.safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{\"a\": 1x"),
        ("bare.safetensors", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"),
    ]);
    let p = place.path();
    succeed(p, "train --data digits --model mlp:64-8-10 --steps 1 --out d --quiet");
    succeed(p, "train --data t.csv --model mlp:2-2 --steps 1 --out c --quiet");
    succeed(p, "train --data a.txt --model char-transformer:1,8,1,4 --steps 1 --out t --quiet");
    let whole = fs::read(p.join("d/model.safetensors")).unwrap();
    fs::write(p.join("cut.safetensors"), &whole[..whole.len() - 9]).unwrap();
    fs::write(p.join("longer.safetensors"), [&whole[..], b"x"].concat()).unwrap();
    let mut nan = whole.clone();
    let at = whole.len() - 4; // the last bias
    nan[at..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(p.join("nan.safetensors"), nan).unwrap();
    check_all(
        p,
        &[
            (
                "evaluate --quiet --data digits --model nowhere.safetensors",
                &["nowhere.safetensors", "cannot be read"],
            ),
            (
                "evaluate --quiet --data digits --model length.safetensors",
                &["length.safetensors", "truncated or not safetensors"],
            ),
            ("evaluate --quiet --data digits --model short.safetensors", &["ends after 3 bytes"]),
            ("evaluate --quiet --data digits --model header.safetensors", &["corrupt header at byte"]),
            ("evaluate --quiet --data digits --model cut.safetensors", &["cut.safetensors", "truncated"]),
            (
                "evaluate --quiet --data digits --model longer.safetensors",
                &["longer.safetensors", "appended"],
            ),
            ("evaluate --quiet --data digits --model nan.safetensors", &["not finite", "NaN"]),
            ("evaluate --quiet --data digits --model bare.safetensors", &["--arch", "--normalize"]),
            ("evaluate --quiet --data digits --model bare.safetensors --arch mlp:64-8-10", &["--normalize"]),
            (
                "evaluate --quiet --data digits --model bare.safetensors --arch mlp:64-8-10 --normalize mean=0",
                &["missing", "fc1.weight"],
            ),
            (
                "evaluate --quiet --data digits --model d/model.safetensors --arch mlp:64-9-10 --normalize mean=0",
                &["fc1", "8", "9"],
            ),
            (
                "evaluate --quiet --data digits --model d/model.safetensors --arch cnn:2,8 --normalize mean=0",
                &["tensors are not the architecture's", "conv1"],
            ),
            ("evaluate --quiet --data digits --model d/model.safetensors --normalize std=0", &["std = 0"]),
            (
                "evaluate --quiet --data digits --model d/model.safetensors --normalize grey",
                &["grey", "mean=0.5,std=0.5"],
            ),
            ("evaluate --quiet --data t.csv --model d/model.safetensors", &["[8, 8, 1]", "[2]"]),
            ("evaluate --quiet --data a.txt --model d/model.safetensors", &["character \"a\"", "never saw"]),
            ("evaluate --quiet --data digits --model t/model.safetensors", &["[4]", "[8, 8, 1]"]),
            (
                "evaluate --quiet --data other.csv --model c/model.safetensors",
                &["no column \"b\"", "a, c, label"],
            ),
            (
                "evaluate --quiet --data t.csv --model c/model.safetensors --test-fraction 1",
                &["--test-fraction"],
            ),
            (
                "evaluate --quiet --data digits --model d/model.safetensors --split tail",
                &["--split", "leave it out"],
            ),
            ("evaluate --quiet --data digits --model d/model.safetensors --layout nchw", &["--layout"]),
            ("train --quiet --data t.csv --model mlp:2-2 --layout nchw", &["--layout", "CSV"]),
            (
                "evaluate --quiet --data left.csv --model c/model.safetensors",
                &["class \"left\"", "never saw", "2 classes"],
            ),
            ("evaluate --quiet --data numbers.csv --model c/model.safetensors", &["class \"0.", "never saw"]),
            (
                "evaluate --quiet --data numbers.csv --model c/model.safetensors --task regression",
                &["numbers to predict"],
            ),
            (
                "evaluate --quiet --data b.txt --model t/model.safetensors",
                &["character \"x\"", "never saw", "5 characters"],
            ),
            ("evaluate --quiet --data s.txt --model t/model.safetensors", &["characters", "context"]),
            ("evaluate --quiet --data digits --model d/model.safetensors --part some", &["some", "train"]),
            ("evaluate --quiet --data digits --model file", &["file"]),
        ],
    );
}

/// Not the input's fault: exit code 1.
#[test]
fn divergence_is_a_failure_that_says_where() {
    let place = folder(&[]);
    for (line, clues) in [
        (
            "train --quiet --data digits --model mlp:64-32-10 --method sgd --lr 1e30",
            ["not finite", "learning rate"],
        ),
        (
            "train --quiet --data digits --model mlp:64-32-10 --method adahessian --lr 1e30 --schedule constant --out a",
            ["not finite", "learning rate"],
        ),
    ] {
        let output = run(place.path(), line);
        let said = errors(&output);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{line}: {said}");
        assert!(clues.iter().all(|c| said.contains(c)), "{line}: {said}");
    }
}
