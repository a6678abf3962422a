//! What holds for all inputs: settings that are refused, sizes, resumed runs, numbers of threads.

use proptest::prelude::*;
use thalweg_core::Method;
use thalweg_optim::functions::{Function, Rosenbrock};
use thalweg_template::Template;

proptest! {
    #[test]
    fn settings_outside_their_range_are_named(lr in prop::sample::select(vec![0.0, -1.0, f64::NAN, f64::INFINITY])) {
        let method = Template { lr, ..Template::default() };
        let error = Method::<Function<Rosenbrock>>::validate(&method).unwrap_err();
        prop_assert_eq!(error.field, "lr");
    }
}
