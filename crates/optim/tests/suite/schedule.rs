//! Schedules: text form and course.

use proptest::prelude::*;
use thalweg_optim::{Milestone, Schedule, Shape};

fn schedules() -> impl Strategy<Value = Schedule> {
    let milestone =
        prop_oneof![(0u64..500).prop_map(Milestone::Step), (0.0..=100.0f64).prop_map(Milestone::Percent)];
    let step = (prop::collection::vec(milestone, 1..4), 0.01..=1.0f64);
    let shape = prop_oneof![
        Just(Shape::Constant),
        Just(Shape::Linear),
        Just(Shape::Cosine),
        Just(Shape::InverseSqrt),
        step.prop_map(|(at, factor)| Shape::Step { at, factor }),
    ];
    let schedule = |(shape, warmup)| Schedule { shape, warmup, total: None };
    (shape, 0u64..50).prop_map(schedule)
}

proptest! {
    #[test]
    fn the_text_form_is_read_back(schedule in schedules(), total in 1u64..1000) {
        prop_assert_eq!(&Schedule::parse(&schedule.to_string()).unwrap(), &schedule);
        let bound = schedule.bind(total);
        prop_assert_eq!(&Schedule::parse(&bound.to_string()).unwrap(), &bound);
        let json = serde_json::to_string(&bound).unwrap();
        prop_assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), bound);
    }

    #[test]
    fn factors_rise_during_warmup_then_never_rise(schedule in schedules(), total in 60u64..1000) {
        let schedule = schedule.bind(total);
        prop_assert!(schedule.validate().is_ok());
        for t in 0..total + 5 {
            let (now, next) = (schedule.factor(t), schedule.factor(t + 1));
            prop_assert!((0.0..=1.0).contains(&now), "{} at {}", now, t);
            if t + 1 < schedule.warmup {
                prop_assert!(next > now);
            } else if t >= schedule.warmup {
                prop_assert!(next <= now);
            }
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,30}|(warmup:)?[0-9]{0,4}\\+?(step|linear|cosine)?:?[0-9,.%:]{0,12}") {
        if let Ok(schedule) = Schedule::parse(&text) {
            prop_assert!(!schedule.factor(3).is_nan());
        }
    }
}

#[test]
fn known_factors() {
    let at = |text: &str, t| Schedule::parse(text).unwrap().factor(t);
    assert_eq!([at("linear:4", 0), at("linear:4", 3), at("linear:4", 4)], [1.0, 0.25, 0.0]);
    assert_eq!(at("cosine:10", 0), 1.0);
    assert!((at("cosine:10", 5) - 0.5).abs() < 1e-15 && at("cosine:10", 10) == 0.0);
    let step = |t| at("step:80,120:0.1", t);
    assert_eq!([step(79), step(80), step(119)], [1.0, 0.1, 0.1]);
    assert!((step(120) - 0.01).abs() < 1e-17);
    assert_eq!([at("step:50%:0.5:10", 4), at("step:50%:0.5:10", 5)], [1.0, 0.5]);
    assert_eq!([at("warmup:4+constant", 0), at("warmup:4+constant", 3)], [0.25, 1.0]);
    assert_eq!([at("warmup:4+inverse-sqrt", 3), at("warmup:4+inverse-sqrt", 15)], [1.0, 0.5]);
    let epochs = Schedule::parse("warmup:1+step:2,3:0.5").unwrap().scale(10);
    assert_eq!(epochs.to_string(), "warmup:10+step:20,30:0.5");
}

#[test]
fn nonsense_is_refused_in_one_line() {
    let bad = [
        "",
        "sine",
        "linear:",
        "linear:x",
        "step",
        "step:1",
        "step:1:",
        "step::0.1",
        "step:1:0",
        "step:1:-1",
    ];
    let worse = [
        "step:1:inf",
        "step:101%:0.1",
        "step:-1%:0.1",
        "step:1:0.1:5:6",
        "warmup:+linear",
        "warmup:-1+linear",
    ];
    for text in
        bad.into_iter().chain(worse).chain(["constant:5", "inverse-sqrt:2", "warmup:2", "step:nan%:0.1"])
    {
        match Schedule::parse(text) {
            Ok(schedule) => {
                assert_eq!((text, schedule.to_string()), ("warmup:2", "warmup:2+constant".into()))
            }
            Err(e) => {
                assert!(e.to_string().starts_with("schedule = ") && !e.to_string().contains('\n'), "{e}")
            }
        }
    }
}
