//! Processes of an MPI job. This program starts itself: by `mpirun` where it is built with MPI, and
//! each process then plays the role that its argument names.

use std::process::{Command, ExitCode, Output};

use thalweg_comm::world;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("refused") => refused(),
        #[cfg(feature = "mpi")]
        Some(role) if !role.starts_with('-') => with_mpi::play(role),
        _ => {
            let mut world = world().unwrap();
            assert_eq!((world.rank(), world.size(), world.collective().size()), (0, 1, 1));
            #[cfg(feature = "mpi")]
            with_mpi::direct();
            #[cfg(not(feature = "mpi"))]
            direct();
            ExitCode::SUCCESS
        }
    }
}

/// A program without MPI does not let several processes do the same work.
#[cfg_attr(feature = "mpi", expect(dead_code))]
fn direct() {
    let run = myself().arg("refused").env("OMPI_COMM_WORLD_SIZE", "2").output().unwrap();
    assert!(run.status.success(), "{}", text(&run));
    let run = myself().arg("refused").env("OMPI_COMM_WORLD_SIZE", "1").output().unwrap();
    assert!(!run.status.success(), "one process is no reason to refuse");
    println!("a program without MPI refuses to be one of several: ok");
}

fn refused() -> ExitCode {
    match world() {
        Err(thalweg_comm::CommError::Unsupported { size: 2 }) => ExitCode::SUCCESS,
        other => {
            eprintln!("{other:?}");
            ExitCode::FAILURE
        }
    }
}

fn myself() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

fn text(run: &Output) -> String {
    String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr)
}

#[cfg(feature = "mpi")]
mod with_mpi {
    use std::process::{Command, ExitCode, Output};
    use std::time::{Duration, Instant};

    use thalweg_comm::{Collective, CommError, Traffic, World, world};

    use super::text;

    /// Runs this program's `role` in `n` processes.
    fn mpirun(n: usize, role: &str) -> Output {
        Command::new("mpirun")
            .args(["-n", &n.to_string()])
            .arg(std::env::current_exe().unwrap())
            .arg(role)
            // Containers: root, fewer cores than processes, no binding, no shared-memory tricks.
            .envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")])
            .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
            .env("OMPI_MCA_hwloc_base_binding_policy", "none")
            .env("OMPI_MCA_btl_vader_single_copy_mechanism", "none")
            .output()
            .expect("mpirun is missing; install openmpi-bin")
    }

    /// What is expected of each role.
    pub fn direct() {
        for n in 1..=4 {
            let run = mpirun(n, "sum");
            assert!(run.status.success(), "{n} processes: {}", text(&run));
            println!("collectives of {n} processes: ok");
        }

        let since = Instant::now();
        let run = mpirun(2, "fail-alone");
        assert_eq!(run.status.code(), Some(7), "{}", text(&run));
        assert!(text(&run).contains("rank 1 fails"), "{}", text(&run));
        assert!(!text(&run).contains("rank 0"), "{}", text(&run));
        println!("a rank that fails ends the others: ok, {:.1} s", since.elapsed().as_secs_f64());

        let run = mpirun(3, "fail-together");
        assert_eq!(run.status.code(), Some(2), "{}", text(&run));
        assert_eq!(text(&run).matches("fails").count(), 1, "{}", text(&run));
        println!("what fails on all ranks is said once: ok");

        let run = mpirun(2, "differ");
        assert_eq!(run.status.code(), Some(7), "{}", text(&run));
        assert_eq!(text(&run).matches("rank 1 fails").count(), 1, "{}", text(&run));
        println!("what fails on one rank alone is said: ok");

        let run = mpirun(2, "exit");
        assert_eq!(run.status.code(), Some(3), "{}", text(&run));
        println!("a process that exits ends the others: ok");

        let since = Instant::now();
        let run = mpirun(2, "interrupt");
        assert_eq!(run.status.code(), Some(130), "{}", text(&run));
        assert!(text(&run).contains("saved"), "{}", text(&run));
        assert!(since.elapsed() > Duration::from_secs(3));
        println!("an agreed stop waits for the slowest: ok");
    }

    pub fn play(role: &str) -> ExitCode {
        let mut world = world().unwrap();
        let rank = world.rank();
        let code = match role {
            "sum" => {
                assert_eq!(super::world().unwrap_err(), CommError::Initialized);
                sum(&mut world);
                0
            }
            "fail-alone" if rank == 1 => 7,
            "fail-alone" => {
                world.collective().barrier().unwrap();
                unreachable!("the other rank never comes")
            }
            "fail-together" => 2,
            "differ" => 7 * rank as u8,
            "exit" if rank == 1 => std::process::exit(3),
            "exit" => {
                world.collective().all_reduce_sum(&mut [1.0; 100]).unwrap();
                unreachable!("the other rank never comes")
            }
            "interrupt" => {
                if rank == 0 {
                    std::thread::sleep(Duration::from_secs(3));
                    eprintln!("saved");
                }
                130
            }
            other => unreachable!("role {other}"),
        };
        let say = || {
            if code == 2 || code == 7 {
                eprintln!("rank {rank} fails")
            }
        };
        ExitCode::from(world.end(code, say))
    }

    /// Numbers whose sum depends on the order, from a plain generator.
    fn numbers(rank: usize, len: usize) -> Vec<f32> {
        let mut state = rank as u64 + 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as f32 - 1e9) * 10f32.powi((state >> 60) as i32 - 8)
        };
        (0..len).map(|_| next()).collect()
    }

    fn sum(world: &mut World) {
        let (rank, size) = (world.rank(), world.size());
        let mut bytes = 0;
        let mut all = world.collective();
        // Fewer numbers than ranks, and more than go in one piece.
        let lengths = [0, 1, 2, 3, 5, 1000, (1 << 22) + 3];
        for len in lengths {
            let mut expected = numbers(0, len);
            let mut wide: Vec<f64> = expected.iter().map(|&x| f64::from(x) / 3.0).collect();
            for other in 1..size {
                let part = numbers(other, len);
                expected.iter_mut().zip(&part).for_each(|(s, x)| *s += x);
                wide.iter_mut().zip(&part).for_each(|(s, &x)| *s += f64::from(x) / 3.0);
            }
            let mut found = numbers(rank, len);
            let mut found_wide: Vec<f64> = found.iter().map(|&x| f64::from(x) / 3.0).collect();
            all.all_reduce_sum(&mut found).unwrap();
            all.all_reduce_sum_f64(&mut found_wide).unwrap();
            assert!(found == expected && found_wide == wide, "rank {rank}: the sums of {len} numbers differ");
            bytes += 12 * len as u64;
        }
        assert_eq!(all.traffic(), Traffic { calls: 2 * lengths.len() as u64, bytes });
        drop(all);

        let mut all = world.collective();
        for root in 0..size {
            let mut x = [rank as u8, 7];
            all.broadcast(root, &mut x).unwrap();
            assert_eq!(x, [root as u8, 7]);
        }
        assert!(all.any(rank == size - 1).unwrap());
        assert!(!all.any(false).unwrap());
        all.barrier().unwrap();
        let mut x = [rank as f64, if rank == 0 { f64::NAN } else { 1.0 }];
        all.mean_f64(&mut x).unwrap();
        assert!(x[0] == (size - 1) as f64 / 2.0 && x[1].is_nan());
        assert_eq!(all.broadcast(size, &mut []), Err(CommError::Root { root: size, size }));
        let (calls, bytes) = (size as u64 + 4, 2 * size as u64 + 8 + 16);
        assert_eq!(all.traffic(), Traffic { calls, bytes });
    }
}
