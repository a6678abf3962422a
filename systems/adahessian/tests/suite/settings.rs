//! Settings: what is refused, and their form in files.

use proptest::prelude::*;
use thalweg_adahessian::{AdaHessian, Average, BlockRule, BlockRules, Group, Probe, average};
use thalweg_core::{Kind, Layout};
use thalweg_optim::Schedule;
use thalweg_testing::{Bowl, bits};

use crate::common::{refusal, update};

fn method() -> AdaHessian {
    AdaHessian::default()
}

#[test]
fn every_bad_field_is_named_with_its_value_and_range() {
    let group = |group: Group| AdaHessian { groups: vec![group], ..method() };
    let rules = |key: &str, rule| AdaHessian { blocks: BlockRules([(key.into(), rule)].into()), ..method() };
    let linear = Schedule::parse("linear").unwrap();
    let table = [
        (AdaHessian { lr: -0.1, ..method() }, "lr = -0.1 is not allowed; use a number ≥ 0"),
        (AdaHessian { lr: f64::NAN, ..method() }, "lr = NaN"),
        (
            AdaHessian { betas: (1.0, 0.999), ..method() },
            "betas.0 = 1 is not allowed; use a number in [0, 1)",
        ),
        (AdaHessian { betas: (0.9, -0.5), ..method() }, "betas.1 = -0.5"),
        (AdaHessian { eps: -1e-9, ..method() }, "eps = -0.000000001"),
        (AdaHessian { weight_decay: f64::INFINITY, ..method() }, "weight_decay = inf"),
        (
            AdaHessian { hessian_power: 1.5, ..method() },
            "hessian_power = 1.5 is not allowed; use a number in [0, 1]",
        ),
        (AdaHessian { hessian_power: -0.1, ..method() }, "hessian_power = -0.1"),
        (AdaHessian { probes: 0, ..method() }, "probes = 0 is not allowed; use at least 1"),
        (AdaHessian { hessian_every: 0, ..method() }, "hessian_every = 0 is not allowed; use at least 1"),
        (AdaHessian { min_denominator: -1.0, ..method() }, "min_denominator = -1"),
        (
            AdaHessian { clip_update: Some(0.0), ..method() },
            "clip_update = 0 is not allowed; use a number > 0",
        ),
        (AdaHessian { schedule: linear, ..method() }, "schedule = linear"),
        (rules("linear", BlockRule::Chunks(0)), "blocks.linear = 0 is not allowed; use natural"),
        (rules("fcc.weight", BlockRule::Row), "blocks = \"fcc.weight\" is not allowed; use a kind (linear, "),
        (group(Group { lr_scale: -1.0, ..Group::default() }), "groups.lr_scale = -1"),
        (group(Group { weight_decay: Some(-1.0), ..Group::default() }), "groups.weight_decay = -1"),
        (group(Group { hessian_power: Some(2.0), ..Group::default() }), "groups.hessian_power = 2"),
        (group(Group { block: Some(BlockRule::Chunks(0)), ..Group::default() }), "groups.block = 0"),
        (group(Group { pattern: "head.*".into(), ..Group::default() }), "groups.pattern = \"head.*\""),
    ];
    for (method, expected) in table {
        let error = refusal(&method, &mut Bowl::<f32>::network());
        let error = error.strip_prefix("step 0: ").unwrap_or(&error);
        assert!(error.starts_with(expected), "{error} does not start with {expected}");
    }
}

#[test]
fn an_unknown_block_is_answered_with_the_known_ones() {
    let method = AdaHessian { blocks: "fcc.weight=row".parse().unwrap(), ..method() };
    let error = refusal(&method, &mut Bowl::<f32>::network());
    assert!(error.contains("conv2d") && error.contains("fc.weight"), "{error}");
}

#[test]
fn nothing_to_train_is_an_error() {
    let mut frozen = Bowl::<f32>::flat(&[1.0], &[1.0]);
    frozen.layout.set_frozen("x", true);
    for mut problem in [Bowl::<f32>::new(Layout::default(), vec![], &[]), Bowl::flat(&[], &[]), frozen] {
        assert!(refusal(&method(), &mut problem).contains("no unknowns"));
    }
}

#[test]
fn buffers_of_the_wrong_length_are_refused() {
    let layout = Layout::flat(3);
    let mut moments = method().moments(&layout).unwrap();
    let mut step = |theta: &mut [f64], g: &[f64], d: Option<&[f64]>| {
        method().update(&layout, &mut moments, theta, g, d).unwrap_err().to_string()
    };
    let ok = [1.0; 3];
    assert!(step(&mut [1.0; 2], &ok, Some(&ok)).starts_with("the iterate has 2 elements where 3 are needed"));
    assert!(step(&mut [1.0; 3], &ok[..1], Some(&ok)).starts_with("the gradient has 1"));
    assert!(step(&mut [1.0; 3], &ok, Some(&ok[..0])).starts_with("the diagonal has 0"));
    assert!(step(&mut [1.0; 3], &ok, None).contains("no Hessian-vector product"));
}

#[test]
fn files_may_leave_fields_out_but_not_misspell_them() {
    let read = |text: &str| serde_json::from_str::<AdaHessian>(text);
    let text =
        r#"{"lr": 0.1, "average": "signed", "blocks": {"linear": "row", "conv": 9}, "schedule": "cosine"}"#;
    let expected = AdaHessian {
        lr: 0.1,
        average: Average::Signed,
        blocks: "linear=row,conv=9".parse().unwrap(),
        schedule: Schedule::parse("cosine").unwrap(),
        ..method()
    };
    assert_eq!(read(text).unwrap(), expected);
    assert_eq!(read("{}").unwrap(), method());
    for (text, expected) in [
        (r#"{"learning_rate": 0.1}"#, "unknown field `learning_rate`"),
        (r#"{"groups": [{"name": "x"}]}"#, "unknown field `name`"),
        (r#"{"average": "mean"}"#, "unknown variant `mean`"),
        (r#"{"blocks": {"linear": 0}}"#, "chunk length ≥ 1"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

fn rule() -> impl Strategy<Value = BlockRule> {
    use BlockRule::*;
    prop_oneof![Just(Natural), Just(None), Just(Row), Just(Kernel), (1usize..1000).prop_map(Chunks)]
}

fn group() -> impl Strategy<Value = Group> {
    let kind = prop::option::of(prop_oneof![Just(Kind::Linear), Just(Kind::NormScale)]);
    let unit = || prop::option::of(0.0..1.0f64);
    let parts = ("[a-z.*]{1,8}", kind, 0.0..3.0f64, unit(), unit(), prop::option::of(rule()));
    parts.prop_map(|(pattern, kind, lr_scale, weight_decay, hessian_power, block)| Group {
        pattern,
        kind,
        lr_scale,
        weight_decay,
        hessian_power,
        block,
    })
}

fn methods() -> impl Strategy<Value = AdaHessian> {
    let numbers = prop::array::uniform7(0.0..1.0f64);
    let counts = (1usize..9, 1u64..9, any::<bool>(), prop::option::of(0.1..9.0f64));
    let mode = prop_oneof![Just(Average::Abs), Just(Average::Signed), Just(Average::None)];
    let probe = prop_oneof![Just(Probe::Rademacher), Just(Probe::Gaussian)];
    let rules =
        (prop::collection::btree_map("[a-z.*]{1,8}", rule(), 0..4), prop::collection::vec(group(), 0..3));
    let build = |(n, (probes, hessian_every, diagnostics, clip_update), average, probe, (blocks, groups))| {
        let [lr, b1, b2, eps, weight_decay, hessian_power, min_denominator]: [f64; 7] = n;
        AdaHessian {
            lr,
            betas: (b1, b2),
            eps,
            weight_decay,
            hessian_power,
            probes,
            hessian_every,
            average,
            probe,
            blocks: BlockRules(blocks),
            schedule: Schedule::parse("warmup:3+step:80,120:0.1").unwrap(),
            groups,
            min_denominator,
            clip_update,
            diagnostics,
        }
    };
    (numbers, counts, mode, probe, rules).prop_map(build)
}

proptest! {
    #[test]
    fn settings_survive_a_file(method in methods()) {
        prop_assert!(method.check().is_ok());
        // JSON numbers are read back to the last bit or two; the text of the second trip is equal.
        let text = serde_json::to_string(&method).unwrap();
        let read: AdaHessian = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read.blocks, &method.blocks);
        prop_assert!((read.lr - method.lr).abs() <= 1e-15);
        let again: AdaHessian = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        let same = |a: f64, b: f64| (a - b).abs() <= 1e-14;
        prop_assert!(same(again.eps, method.eps) && same(again.betas.1, method.betas.1));
        prop_assert_eq!(again.groups.len(), method.groups.len());
        for (a, b) in again.groups.iter().zip(&method.groups) {
            prop_assert_eq!((&a.pattern, a.kind, a.block), (&b.pattern, b.kind, b.block));
        }
    }

    #[test]
    fn averaging_keeps_the_mean(x in prop::collection::vec(-9.0..9.0f64, 1..200), chunk in 1usize..70) {
        let sum = |x: &[f64], f: fn(f64) -> f64| x.iter().map(|&x| f(x)).sum::<f64>();
        let (mut abs, mut signed) = (x.clone(), x.clone());
        average(&mut abs, chunk, Average::Abs);
        average(&mut signed, chunk, Average::Signed);
        prop_assert!((sum(&abs, |x| x) - sum(&x, f64::abs)).abs() < 1e-9);
        prop_assert!((sum(&signed, |x| x) - sum(&x, |x| x)).abs() < 1e-9);
        let constant = |d: &[f64]| d.chunks(chunk).all(|c| c.iter().all(|d| *d == c[0]));
        prop_assert!(constant(&abs) && constant(&signed));
    }

    #[test]
    fn chunks_of_one_are_no_averaging(x in prop::collection::vec(-9.0..9.0f64, 1..50)) {
        for mode in [Average::Abs, Average::Signed, Average::None] {
            let mut d = x.clone();
            average(&mut d, 1, mode);
            prop_assert!(d.iter().zip(&x).all(|(d, x)| d.abs() == x.abs()));
        }
        let mut layout = Layout::default();
        layout.push("w", &[1, x.len()], Kind::Linear);
        let step = |method: AdaHessian| {
            let mut theta = vec![1.0; x.len()];
            let g: Vec<f64> = x.iter().map(|x| x.cos()).collect();
            let moments = update(&method, &layout, &mut theta, &g, &x);
            (bits(&theta), bits(&moments.v))
        };
        let ones = AdaHessian { blocks: "linear=1".parse().unwrap(), ..method() };
        prop_assert_eq!(step(ones), step(AdaHessian { average: Average::None, ..method() }));
    }

    #[test]
    fn no_rule_text_panics(text in "\\PC{0,20}|[a-z0-9.*=,-]{0,20}") {
        if let Ok(rules) = text.parse::<BlockRules>() {
            prop_assert!(rules.0.values().all(|rule| *rule != BlockRule::Chunks(0)));
        }
    }
}
