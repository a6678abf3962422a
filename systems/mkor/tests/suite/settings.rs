//! Settings: what is refused, and their form in files.

use serde_json::json;
use thalweg_core::{Kind, Layout};
use thalweg_mkor::knee::{KneeSchedule, Scheduled};
use thalweg_mkor::settings::Vector;
use thalweg_mkor::{Backend, Eva, Form, Kfac, Knee, Mkor, Rescale, Rule, Storage};
use thalweg_optim::{Lamb, Sgd};

use crate::common::{Tiny, linear, mkor, refusal};

#[test]
fn every_bad_field_is_named_with_its_value_and_range() {
    let knee = |knee: Knee| Mkor { hybrid: Some(knee), ..mkor() };
    let table = [
        (Mkor { inv_freq: 0, ..mkor() }, "inv_freq = 0 is not allowed; use at least 1"),
        (Mkor { decay: 1.0, ..mkor() }, "decay = 1 is not allowed; use a number in (0, 1)"),
        (Mkor { decay: 0.0, ..mkor() }, "decay = 0 "),
        (Mkor { threshold: 0.0, ..mkor() }, "threshold = 0 is not allowed; use a number > 0"),
        (Mkor { stabilisation: 1.1, ..mkor() }, "stabilisation = 1.1 is not allowed; use a number in [0, 1]"),
        (Mkor { clip: f64::NAN, ..mkor() }, "clip = NaN"),
        (Mkor { form: Form::LowRank(0), ..mkor() }, "form = low-rank:0 is not allowed; use auto, dense or"),
        (
            Mkor { form: Form::LowRank(9), rule: Rule::ShermanMorrison, ..mkor() },
            "form = low-rank:9 is not allowed; use dense or auto with this rule; only released",
        ),
        (Mkor { form: Form::LowRank(9), rule: Rule::Printed, ..mkor() }, "form = low-rank:9"),
        (
            Mkor { exclude: vec!["head.*".into()], ..mkor() },
            "exclude = \"head.*\" is not allowed; use the name",
        ),
        (Mkor { reenter: true, ..mkor() }, "reenter = true is not allowed; use hybrid together"),
        (knee(Knee { beta: 0.0, ..Knee::default() }), "knee.beta = 0 is not allowed"),
        (knee(Knee { window: 0, ..Knee::default() }), "knee.window = 0"),
        (knee(Knee { smoothing: 1.0, ..Knee::default() }), "knee.smoothing = 1"),
        (knee(Knee { patience: 0, ..Knee::default() }), "knee.patience = 0"),
        (
            Mkor { knee_schedule: Some(KneeSchedule { factor: 1.0, ..KneeSchedule::default() }), ..mkor() },
            "factor = 1 is not allowed",
        ),
        (
            Mkor { backend: Backend::Sgd(Sgd { lr: -0.1, ..Sgd::default() }), ..mkor() },
            "backend.lr = -0.1 is not allowed; use a number ≥ 0",
        ),
    ];
    for (method, expected) in table {
        let error = refusal(&method, &mut Tiny::<f32>::mlp());
        let error = error.strip_prefix("step 0: ").unwrap_or(&error);
        assert!(error.starts_with(expected), "{error} does not start with {expected}");
    }
    let kfac = [
        (Kfac { factor_freq: 0, ..Kfac::default() }, "factor_freq = 0"),
        (Kfac { inv_freq: 0, ..Kfac::default() }, "inv_freq = 0"),
        (Kfac { decay: 1.0, ..Kfac::default() }, "decay = 1"),
        (Kfac { damping: 0.0, ..Kfac::default() }, "damping = 0"),
        (Kfac { kl_clip: Some(-1.0), ..Kfac::default() }, "kl_clip = -1"),
    ];
    for (method, expected) in kfac {
        assert!(refusal(&method, &mut Tiny::<f32>::mlp()).starts_with(expected), "{expected}");
    }
    let eva = [
        (Eva { factor_freq: 0, ..Eva::default() }, "factor_freq = 0"),
        (Eva { decay: -0.1, ..Eva::default() }, "decay = -0.1"),
        (Eva { damping: f64::INFINITY, ..Eva::default() }, "damping = inf"),
    ];
    for (method, expected) in eva {
        assert!(refusal(&method, &mut Tiny::<f32>::mlp()).starts_with(expected), "{expected}");
    }
}

#[test]
fn factors_that_do_not_fit_are_refused_before_they_are_allocated() {
    let mut problem = Tiny::<f32>::mlp();
    let mut layout = Layout::default();
    layout.push("embed.weight", &[2, 30_000], Kind::Linear);
    problem.start = vec![0.0; layout.len()];
    problem.layout = layout;
    let dense = Mkor { form: Form::Dense, ..mkor() };
    let error = refusal(&dense, &mut problem);
    assert!(error.contains("embed.weight") && error.contains("30001 rows"), "{error}");
    assert!(error.contains("3600240004 bytes") && error.contains("form = low-rank:40"), "{error}");
    assert!(error.contains("exclude = [\"embed.weight\"]"), "{error}");
    let power = Mkor { vector: Vector::Power, ..mkor() };
    assert!(refusal(&power, &mut problem).contains("vector = mean"));
    let inverse = Mkor { rule: Rule::ShermanMorrison, ..mkor() };
    assert!(refusal(&inverse, &mut problem).contains("rule = released"));
    assert!(refusal(&Kfac::default(), &mut problem).contains("use mkor, or exclude"));
    // Half precision, low rank and exclusion fit (the layout no longer belongs to the net: no step).
    use thalweg_core::{Method, Seed};
    for method in [mkor(), Mkor { exclude: vec!["embed.weight".into()], ..dense.clone() }] {
        assert!(method.init(&mut problem, Seed(1)).is_ok());
    }
}

#[test]
fn settings_read_and_write_as_json_and_toml() {
    let text = json!({
        "backend": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "schedule": "linear:100"},
        "inv_freq": 5, "rule": "sherman-morrison", "form": "auto", "storage": "f32", "rescale": "sum",
        "vector": "power", "exclude": ["head.*"], "hybrid": {"beta": 0.2}, "reenter": true
    });
    let method: Mkor = serde_json::from_value(text).unwrap();
    let expected = Mkor {
        backend: Backend::Sgd(Sgd { lr: 0.1, schedule: "linear:100".parse().unwrap(), ..Sgd::default() }),
        inv_freq: 5,
        rule: Rule::ShermanMorrison,
        storage: Storage::Full,
        rescale: Rescale::Sum,
        vector: Vector::Power,
        exclude: vec!["head.*".into()],
        hybrid: Some(Knee { beta: 0.2, ..Knee::default() }),
        reenter: true,
        ..Mkor::default()
    };
    assert_eq!(method, expected);
    let lamb = Mkor {
        backend: Backend::Lamb(Lamb::default()),
        form: Form::LowRank(20),
        storage: Storage::Bf16,
        knee_schedule: Some(KneeSchedule::default()),
        ..Mkor::default()
    };
    for method in [Mkor::default(), expected, lamb] {
        let json = serde_json::to_string(&method).unwrap();
        assert_eq!(serde_json::from_str::<Mkor>(&json).unwrap(), method);
        let toml = toml::to_string(&method).unwrap();
        assert_eq!(toml::from_str::<Mkor>(&toml).unwrap(), method, "{toml}");
    }
    let toml = "inv_freq = 3\n[backend]\nname = \"adamw\"\nlr = 0.01\nbetas = [0.9, 0.95]\n";
    let method: Kfac = toml::from_str(&toml.replace("inv_freq", "factor_freq")).unwrap();
    assert!(
        matches!(method.backend, Backend::AdamW(adamw) if adamw.betas.1 == 0.95 && adamw.weight_decay == 0.01)
    );
    assert_eq!(toml::from_str::<Scheduled>("").unwrap(), Scheduled::default());
    for bad in [
        json!({"inv_frequency": 3}),
        json!({"backend": {"name": "sgd", "learning_rate": 0.1}}),
        json!({"backend": {"name": "sdg"}}),
        json!({"backend": {"lr": 0.1}}),
        json!({"form": "low-rank"}),
        json!({"form": "low-rank:0"}),
        json!({"hybrid": {"gamma": 0.1}}),
    ] {
        let error = serde_json::from_value::<Mkor>(bad.clone()).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{bad}: {error}");
    }
    let error = "low-rank:-1".parse::<Form>().unwrap_err().to_string();
    assert_eq!(
        error,
        "form = low-rank:-1 is not allowed; use auto, dense or low-rank:R with R ≥ 1, e.g. low-rank:40"
    );
}

#[test]
fn large_factors_take_the_low_rank_form_by_themselves() {
    use thalweg_core::{Method, Problem, Seed};
    let mut problem = Tiny::<f32>::new(&[linear(161, 160, true, true), linear(160, 3, true, false)], 4, 2);
    let bytes = |method: &Mkor, problem: &mut Tiny<f32>| {
        let mut state = method.init(problem, Seed(1)).unwrap();
        problem.begin_step(0).unwrap();
        method.step(problem, &mut state).unwrap();
        let factors = state.state.layers.list[0].factors.as_ref().unwrap();
        (factors.left.bytes(), factors.right.bytes())
    };
    // Nothing is kept yet of the low-rank right factor.
    assert_eq!(bytes(&mkor(), &mut problem), (160 * 160 * 4, 0));
    let method = Mkor { rule: Rule::ShermanMorrison, storage: Storage::F16, ..mkor() };
    assert_eq!(bytes(&method, &mut problem), (160 * 160 * 2, 162 * 162 * 2));
}
