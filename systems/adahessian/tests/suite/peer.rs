//! The same steps as `pytorch_optimizer.AdaHessian`; `peers/adahessian_fixture.py` makes the
//! fixture.

use serde_json::Value;
use thalweg_adahessian::{AdaHessian, Average};
use thalweg_core::Objective;
use thalweg_optim::functions::{Function, Rosenbrock};
use thalweg_testing::close;

const FIXTURE: &str = include_str!("../fixtures/pytorch_optimizer.json");

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn pytorch_optimizer_makes_the_same_steps() {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let set = |name: &str| case["settings"][name].as_f64().unwrap();
        let betas = numbers(&case["settings"]["betas"]);
        let method = AdaHessian {
            lr: set("lr"),
            betas: (betas[0], betas[1]),
            eps: set("eps"),
            weight_decay: set("weight_decay"),
            hessian_power: set("hessian_power"),
            average: Average::None,
            ..AdaHessian::default()
        };
        let mut theta = numbers(&fixture["start"]);
        let mut problem = Function::new(Rosenbrock, theta.clone());
        let layout = problem.layout().clone();
        let mut moments = method.moments(&layout).unwrap();
        let (mut grad, mut products) = (vec![0.0; 4], [vec![0.0; 4]]);
        for (z, expected) in
            fixture["probes"].as_array().unwrap().iter().zip(case["points"].as_array().unwrap())
        {
            let z = [numbers(z)];
            problem.value_grad_hvp(&theta, &mut grad, &z, &mut products).unwrap();
            method.estimate(&z, &mut products);
            method.update(&layout, &mut moments, &mut theta, &grad, Some(&products[0])).unwrap();
            close(&theta, &numbers(expected), 1e-9);
        }
    }
}
