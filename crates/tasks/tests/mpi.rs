//! Training in several processes of an MPI job against one: this program starts itself by `mpirun`,
//! and each process then leaves its result in a folder.

use std::path::Path;
use std::process::{Command, ExitCode};

use thalweg_comm::{World, world};
use thalweg_core::{Iterate, Method, Seed};
use thalweg_data::digits;
use thalweg_net::{Init, Net, initial, named};
use thalweg_optim::Sgd;
use thalweg_tasks::train::{Examples, Plan, Sampling, Training, run, standardize};

const METHODS: &[&str] = &[
    "sgd",
    #[cfg(feature = "adahessian")]
    "adahessian",
];

fn main() -> ExitCode {
    let mut world = world().unwrap();
    if let Some(folder) = std::env::var_os("THALWEG_MPI_TEST") {
        for name in METHODS {
            let file = format!("{name}-{}-{}", world.size(), world.rank());
            let bits: Vec<u8> = train(name, &mut world).iter().flat_map(|x| x.to_le_bytes()).collect();
            std::fs::write(Path::new(&folder).join(file), bits).unwrap();
        }
        return ExitCode::from(world.end(0, || {}));
    }

    let folder = tempfile::tempdir().unwrap();
    for n in [2, 3] {
        let run = Command::new("mpirun")
            .args(["-n", &n.to_string()])
            .arg(std::env::current_exe().unwrap())
            .env("THALWEG_MPI_TEST", folder.path())
            // Containers: root, fewer cores than processes, no binding, no shared-memory tricks.
            .envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")])
            .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
            .env("OMPI_MCA_hwloc_base_binding_policy", "none")
            .env("OMPI_MCA_btl_vader_single_copy_mechanism", "none")
            .output()
            .expect("mpirun is missing; install openmpi-bin");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
    for name in METHODS {
        let expected = train(name, &mut world);
        for n in [2, 3] {
            let of = |rank| std::fs::read(folder.path().join(format!("{name}-{n}-{rank}"))).unwrap();
            assert!((1..n).all(|rank| of(rank) == of(0)), "{name}: not the same bits on {n} ranks");
            let found: Vec<f32> =
                of(0).chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            let off = distance(&found, &expected);
            assert!(off < 1e-4, "{name} on {n} ranks: off by {off}");
            println!("{name} on {n} ranks is off one process by {off:.1e}: ok");
        }
    }
    ExitCode::SUCCESS
}

/// Twenty steps on the digits.
fn train(name: &str, world: &mut World) -> Vec<f32> {
    match name {
        #[cfg(feature = "adahessian")]
        "adahessian" => trained(&thalweg_adahessian::AdaHessian::default(), world),
        _ => trained(&Sgd { lr: 0.1, momentum: 0.9, ..Sgd::default() }, world),
    }
}

fn trained<M>(method: &M, world: &mut World) -> Vec<f32>
where
    M: for<'a> Method<Training<'a>, Solution = Vec<f32>>,
    for<'a> <M as Method<Training<'a>>>::State: Iterate<f32>,
{
    let (data, _) = digits();
    let examples = Examples::set(data.clone(), &standardize(&data)).unwrap();
    let net = Net::new(named("mlp:64-24-10:tanh", examples.shape(), 10).unwrap()).unwrap();
    let (theta, buffers) = initial(net.graph(), &Init::default(), Seed(1)).unwrap();
    let training = Training::new(&net, theta, buffers, &examples, Sampling::default()).unwrap();
    let mut training = training.distributed(world.collective()).unwrap();
    run(method, &mut training, &Plan { steps: 20, ..Plan::default() }).unwrap().solution
}

/// ‖a − b‖ / ‖b‖.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    assert_eq!(a.len(), b.len());
    norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b))) / norm(&mut b.iter().map(|b| f64::from(*b)))
}
