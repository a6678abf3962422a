mod common;
use common::*;
use thalweg_lipsdp::*;

#[test]
fn probe() {
    let Some(folder) = shared() else { return };
    let only = std::env::var("ONLY").unwrap_or_default();
    for (name, bounds) in [
        ("own_digits/relu_64x32x32x10", vec![Bound::Neuron, Bound::Layer]),
        ("own_digits/relu_64x16x16x16x16x10", vec![Bound::Neuron, Bound::Layer]),
        ("own_digits/leaky_64x24x24x10", vec![Bound::Neuron]),
        ("own_digits/maxmin_64x8x8x10", vec![Bound::Nsr, Bound::NsrPaper]),
        ("own_digits/maxmin_64x24x24x24x24x10", vec![Bound::Nsr, Bound::NsrPaper]),
        ("own_digits/gs4_64x24x24x10", vec![Bound::Nsr, Bound::NsrPaper]),
        ("own_digits/hh4_64x24x24x10", vec![Bound::Nsr, Bound::NsrPaper]),
        ("own_digits/res_maxmin_64x16x3x10", vec![Bound::Nsr]),
        ("own_digits/deq_relu_64x20x10", vec![Bound::Nsr]),
        ("lipsdp_mit/random_weights", vec![Bound::Nsr]),
        ("lipsdp_mit/mnist_weights", vec![Bound::Nsr]),
        ("maxmin_published/weights_l2_2fc_32", vec![Bound::Nsr, Bound::NsrPaper]),
        ("maxmin_published/weights_l2_8fc_32", vec![Bound::Nsr, Bound::NsrPaper]),
        ("maxmin_published/weights_l2_18fc_32", vec![Bound::Nsr, Bound::NsrPaper]),
        ("maxmin_published/resweights_5_32", vec![Bound::Nsr]),
        ("maxmin_published/resweights_8_32", vec![Bound::Nsr]),
        ("maxmin_published/weights_l2_18fc_128", vec![Bound::NsrPaper, Bound::Nsr]),
    ] {
        if !name.contains(&only) { continue; }
        let net = load(&folder, name);
        for bound in bounds {
            let c = LipSdp { bound, ..LipSdp::default() }.certify(&net);
            match c {
                Ok(c) => println!("{name} {} {:.8} solver {:.8} gap {:.1e} it {} theta {:.0e} margin {:.0e} {:.3}s {:?}", c.method, c.bound, c.solver_value.unwrap(), c.gap.unwrap(), c.iterations.unwrap(), c.theta.unwrap(), c.margin.unwrap(), c.seconds, c.lmi_size),
                Err(e) => println!("{name} {bound:?} {e}"),
            }
        }
    }
}
