//! The driver: stopping, observers, checkpoints, resume.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tempfile::tempdir;
use thalweg_core::*;

/// x ← x − lr·x·(1 + noise), with a generator in the state and a counter in the problem.
#[derive(Clone, Serialize)]
struct Toy {
    lr: f64,
}

#[derive(Serialize, Deserialize)]
struct ToyState {
    x: Vec<f64>,
    rng: ChaCha8Rng,
}

#[derive(Default)]
struct Bowl {
    batch: u64,
    running: f64,
    dynamic: u64,
    /// When and why the others who share the problem stop.
    others: Option<(u64, StopReason)>,
}

impl Problem for Bowl {
    fn begin_step(&mut self, t: u64) -> Result<(), MethodError> {
        self.batch = t;
        Ok(())
    }
    fn end_step(&mut self) -> Result<(), MethodError> {
        self.running = 0.9 * self.running + (self.batch as f64).sin();
        self.dynamic += 1;
        Ok(())
    }
    fn agree(&mut self, stop: Option<StopReason>) -> Result<Option<StopReason>, MethodError> {
        let theirs = self.others.filter(|&(step, _)| self.dynamic >= step);
        Ok(stop.or(theirs.map(|o| o.1)))
    }
    fn save(&self) -> Vec<u8> {
        self.running.to_le_bytes().to_vec()
    }
    fn restore(&mut self, saved: &[u8]) -> Result<(), MethodError> {
        let bytes = saved.try_into().map_err(|e| MethodError::Problem(Box::new(e)))?;
        self.running = f64::from_le_bytes(bytes);
        Ok(())
    }
}

impl Method<Bowl> for Toy {
    type State = ToyState;
    type Solution = (Vec<f64>, f64);
    fn name(&self) -> &'static str {
        "toy"
    }
    fn validate(&self) -> Result<(), Invalid> {
        Invalid::check(self.lr >= 0.0, "lr", self.lr, "a number ≥ 0")
    }
    fn init(&self, _: &mut Bowl, seed: Seed) -> Result<ToyState, MethodError> {
        Ok(ToyState { x: vec![1.0, -2.0, 3.0], rng: seed.stream("toy", 0) })
    }
    fn step(&self, p: &mut Bowl, s: &mut ToyState) -> Result<Progress, MethodError> {
        let value = s.x.iter().map(|x| x * x).sum();
        let grad_max = s.x.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        for x in &mut s.x {
            let noise = s.rng.next_u32() as f64 / u32::MAX as f64;
            *x -= self.lr * *x * (1.0 + noise) + 1e-3 * p.running;
        }
        let metrics = vec![(Progress::GRAD_MAX.to_string(), grad_max)];
        Ok(Progress { value, evaluations: 2, metrics, ..Progress::default() })
    }
    fn finish(&self, p: &mut Bowl, s: ToyState) -> Result<Self::Solution, MethodError> {
        Ok((s.x, p.running))
    }
}

const TOY: Toy = Toy { lr: 0.05 };
const STEPS: u64 = 12;

fn bits((x, running): &(Vec<f64>, f64)) -> Vec<u64> {
    x.iter().chain([running]).map(|v| v.to_bits()).collect()
}

/// Records with their times removed.
fn records(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    let parse = |line| {
        let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(record.as_object_mut().unwrap().remove("seconds").is_some());
        record
    };
    text.lines().map(parse).collect()
}

/// Runs to `steps`, recording and checkpointing in `folder`, resuming if asked.
fn run_in(folder: &Path, steps: u64, every: u64, resume: bool) -> Result<Outcome<(Vec<f64>, f64)>, RunError> {
    let mut problem = Bowl::default();
    let path = folder.join("checkpoint");
    let checkpointer = Checkpointer { path: path.clone(), every: Every::Steps(every) };
    let run = Run::new(&TOY, &mut problem)
        .seed(Seed(7))
        .configuration(&("bowl", 3))
        .stop(Stop::Steps(steps))
        .observe(Recorder::new(folder.join("metrics.jsonl"), 2))
        .each(3, |tick, problem| {
            tick.note("running", problem.running);
            Ok(ControlFlow::Continue(()))
        })
        .checkpoint(checkpointer);
    if resume { run.resume(path)?.run() } else { run.run() }
}

#[test]
fn a_resumed_run_equals_the_uninterrupted_one_wherever_it_was_cut() {
    let whole = tempdir().unwrap();
    let reference = run_in(whole.path(), STEPS, 5, false).unwrap();
    let expected = records(&whole.path().join("metrics.jsonl"));
    assert_eq!(expected.len(), 6 + 2, "every second step, and 3 and 9 for the callback");
    for cut in 0..=STEPS {
        let parts = tempdir().unwrap();
        run_in(parts.path(), cut, 100, false).unwrap();
        // Records behind the checkpoint and a torn last line, as a kill leaves them.
        let file = parts.path().join("metrics.jsonl");
        let mut text = fs::read_to_string(&file).unwrap();
        text += &format!("{{\"step\":{},\"seconds\":0}}\n{{\"st", cut + 1);
        fs::write(&file, text).unwrap();
        let outcome = run_in(parts.path(), STEPS, 100, true).unwrap();
        assert_eq!(bits(&outcome.solution), bits(&reference.solution), "cut at {cut}");
        assert_eq!((outcome.steps, outcome.evaluations), (STEPS, 2 * STEPS));
        assert_eq!(outcome.progress, reference.progress);
        assert_eq!(records(&file), expected, "cut at {cut}");
    }
}

#[test]
fn who_shares_the_problem_stops_the_run() {
    let stopped = |others| {
        let mut problem = Bowl { others, ..Bowl::default() };
        let outcome = toy_run(&mut problem).stop(Stop::Steps(5)).run().unwrap();
        (outcome.steps, outcome.stopped_because)
    };
    assert_eq!(stopped(Some((3, StopReason::Interrupted))), (3, StopReason::Interrupted));
    assert_eq!(stopped(Some((0, StopReason::Time))), (0, StopReason::Time));
    assert_eq!(stopped(Some((5, StopReason::Time))), (5, StopReason::Steps));
    assert_eq!(stopped(None), (5, StopReason::Steps));
}

/// Not a test of its own: the victim of the kill test, slow enough to be hit at any moment.
#[test]
fn victim() {
    let Ok(folder) = std::env::var("THALWEG_KILL_TEST") else { return };
    let folder = Path::new(&folder);
    let path = folder.join("checkpoint");
    let mut problem = Bowl::default();
    let run = Run::new(&TOY, &mut problem)
        .stop(Stop::Steps(300))
        .observe(Recorder::new(folder.join("metrics.jsonl"), 1))
        .each(1, |_, _| {
            std::thread::sleep(Duration::from_micros(300));
            Ok(ControlFlow::Continue(()))
        })
        .checkpoint(Checkpointer { path: path.clone(), every: Every::Steps(3) });
    let run = if path.exists() { run.resume(path).unwrap() } else { run };
    let solution = run.run().unwrap().solution;
    fs::write(folder.join("solution"), serde_json::to_string(&bits(&solution)).unwrap()).unwrap();
}

#[test]
fn a_run_killed_at_random_moments_ends_in_the_same_bits() {
    let spawn = |folder: &Path| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "run::victim"]).env("THALWEG_KILL_TEST", folder);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let (calm, rough) = (tempdir().unwrap(), tempdir().unwrap());
    assert!(spawn(calm.path()).wait().unwrap().success());
    let mut rng = Seed(3).stream("kill", 0);
    let mut kills = 0;
    for _ in 0..20 {
        let mut child = spawn(rough.path());
        std::thread::sleep(Duration::from_micros(2_000 + rng.next_u64() % 30_000));
        child.kill().unwrap();
        kills += u32::from(!child.wait().unwrap().success());
    }
    assert!(kills > 0, "the victim was never hit");
    assert!(spawn(rough.path()).wait().unwrap().success());
    let read = |f: &Path| fs::read(f.join("solution")).unwrap();
    assert_eq!(read(calm.path()), read(rough.path()));
    let of = |f: &Path| records(&f.join("metrics.jsonl"));
    assert_eq!(of(calm.path()), of(rough.path()));
}

fn toy_run(problem: &mut Bowl) -> Run<'_, Toy, Bowl> {
    Run::new(&TOY, problem)
}

#[test]
fn each_rule_stops_for_its_reason() {
    let mut p = Bowl::default();
    let out = toy_run(&mut p).stop(Stop::Steps(0)).run().unwrap();
    assert_eq!((out.stopped_because, out.steps), (StopReason::Steps, 0));
    let out = toy_run(&mut p).stop(Stop::Evaluations(5)).run().unwrap();
    assert_eq!((out.stopped_because, out.steps, out.evaluations), (StopReason::Evaluations, 3, 6));
    let out = toy_run(&mut Bowl::default()).stop(Stop::Target(10.0)).run().unwrap();
    assert_eq!(out.stopped_because, StopReason::Target);
    assert!(out.progress.value <= 10.0 && out.steps > 1);
    let out = toy_run(&mut Bowl::default()).stop(Stop::Tolerance(2.0)).run().unwrap();
    assert_eq!(out.stopped_because, StopReason::Tolerance);
    assert!(out.progress.metric("grad_max").unwrap() <= 2.0);
    let limit = Duration::from_millis(20);
    let out = toy_run(&mut p).stop(Stop::Time(limit)).run().unwrap();
    assert_eq!(out.stopped_because, StopReason::Time);
    assert!(out.elapsed >= limit);
    let out = toy_run(&mut p).stop_when(|tick| tick.state.x[0] < 0.9).run().unwrap();
    assert_eq!(out.stopped_because, StopReason::Condition);
    let out = toy_run(&mut p).each(4, |_, _| Ok(ControlFlow::Break(()))).run().unwrap();
    assert_eq!((out.stopped_because, out.steps), (StopReason::Condition, 4));
}

#[test]
fn an_interrupt_stops_at_a_step_boundary_with_a_checkpoint_that_resumes() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let checkpointer = Checkpointer { path: path.clone(), every: Every::Time(Duration::from_secs(3600)) };
    let (mut p, token) = (Bowl::default(), Interrupt::default());
    let outcome = toy_run(&mut p)
        .stop(Stop::Steps(STEPS))
        .interrupt(token.clone())
        .each(5, |_, _| {
            token.request();
            Ok(ControlFlow::Continue(()))
        })
        .checkpoint(checkpointer.clone())
        .run()
        .unwrap();
    assert_eq!((outcome.stopped_because, outcome.steps), (StopReason::Interrupted, 5));
    assert_eq!(Checkpoint::read(&path).unwrap().step(), 5);
    let mut p = Bowl::default();
    let resumed = toy_run(&mut p).stop(Stop::Steps(STEPS)).resume(&path).unwrap().run().unwrap();
    let whole = toy_run(&mut Bowl::default()).stop(Stop::Steps(STEPS)).run().unwrap();
    assert_eq!(bits(&resumed.solution), bits(&whole.solution));
}

#[test]
fn a_finished_run_resumes_to_the_same_end_at_once() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let checkpointer = Checkpointer { path: path.clone(), every: Every::Steps(1) };
    for end in [Stop::Target(8.0), Stop::Tolerance(2.0)] {
        let mut p = Bowl::default();
        let first = toy_run(&mut p).stop(end).checkpoint(checkpointer.clone()).run().unwrap();
        let again = toy_run(&mut p).stop(end).resume(&path).unwrap().run().unwrap();
        assert_eq!((first.steps, first.stopped_because), (again.steps, again.stopped_because));
    }
    let mut p = Bowl::default();
    let stop = |_: &mut Tick<'_, ToyState>, _: &mut Bowl| Ok(ControlFlow::Break(()));
    toy_run(&mut p).each(4, stop).checkpoint(checkpointer).run().unwrap();
    let again = toy_run(&mut p).each(1, stop).resume(&path).unwrap().run().unwrap();
    assert_eq!((again.steps, again.stopped_because), (4, StopReason::Condition));
}

#[test]
fn damaged_and_foreign_checkpoints_are_refused_in_one_line() {
    let folder = tempdir().unwrap();
    run_in(folder.path(), 3, 1, false).unwrap();
    let good = fs::read(folder.path().join("checkpoint")).unwrap();
    let bad = folder.path().join("bad");
    let refuse = |bytes: &[u8], what: &str| {
        fs::write(&bad, bytes).unwrap();
        let error = Checkpoint::read(&bad).expect_err(what).to_string();
        assert!(!error.contains('\n') && error.contains("bad"), "{error}");
        error
    };
    for i in 0..good.len() {
        for flip in [1u8, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[i] ^= flip;
            let error = refuse(&bytes, "a flipped byte");
            let expected = match i {
                0..8 => "not a Thalweg checkpoint",
                8..12 => "format",
                12..20 => "header",
                _ => "checksum",
            };
            assert!(error.contains(expected), "byte {i}: {error}");
        }
    }
    for n in 0..good.len() {
        refuse(&good[..n], "a cut file");
    }
    refuse(&[&good[..], b"x"].concat(), "a longer file");
    assert!(refuse(b"PK\x03\x04 something else entirely", "a foreign file").contains("signature"));
    let missing = Checkpoint::read(folder.path().join("none")).unwrap_err().to_string();
    assert!(missing.contains("cannot read checkpoint") && !missing.contains('\n'), "{missing}");
    fs::write(&bad, &good).unwrap();
    assert_eq!(Checkpoint::read(&bad).unwrap().step(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_damage_panics(at in any::<prop::sample::Index>(), cut in 0usize..40, junk in prop::collection::vec(any::<u8>(), 0..40)) {
        let folder = tempdir().unwrap();
        run_in(folder.path(), 2, 1, false).unwrap();
        let path = folder.path().join("checkpoint");
        let good = fs::read(&path).unwrap();
        let mut bytes = good.clone();
        let first = at.index(good.len());
        bytes.splice(first..good.len().min(first + cut), junk);
        fs::write(&path, &bytes).unwrap();
        prop_assert_eq!(Checkpoint::read(&path).is_ok(), bytes == good);
    }
}

/// A state of another shape, as a checkpoint of an older program may hold.
#[derive(Serialize)]
struct Other;

impl Method<Bowl> for Other {
    type State = (String, Vec<u64>, u8);
    type Solution = ();
    fn name(&self) -> &'static str {
        "toy"
    }
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
    fn init(&self, _: &mut Bowl, _: Seed) -> Result<Self::State, MethodError> {
        Ok(("other".into(), vec![u64::MAX; 3], 7))
    }
    fn step(&self, _: &mut Bowl, _: &mut Self::State) -> Result<Progress, MethodError> {
        Ok(Progress::default())
    }
    fn finish(&self, _: &mut Bowl, _: Self::State) -> Result<(), MethodError> {
        Ok(())
    }
}

/// [`Other`]'s name and settings with [`Toy`]'s state.
#[derive(Serialize)]
struct Disguised;

impl Method<Bowl> for Disguised {
    type State = ToyState;
    type Solution = (Vec<f64>, f64);
    fn name(&self) -> &'static str {
        "toy"
    }
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
    fn init(&self, p: &mut Bowl, seed: Seed) -> Result<ToyState, MethodError> {
        TOY.init(p, seed)
    }
    fn step(&self, p: &mut Bowl, s: &mut ToyState) -> Result<Progress, MethodError> {
        TOY.step(p, s)
    }
    fn finish(&self, p: &mut Bowl, s: ToyState) -> Result<Self::Solution, MethodError> {
        TOY.finish(p, s)
    }
}

#[test]
fn a_state_of_another_shape_is_an_error() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let checkpointer = Checkpointer { path: path.clone(), every: Every::Steps(1) };
    Run::new(&Other, &mut Bowl::default()).stop(Stop::Steps(1)).checkpoint(checkpointer).run().unwrap();
    let mut p = Bowl::default();
    let error = Run::new(&Disguised, &mut p).stop(Stop::Steps(2)).resume(&path).unwrap().run().unwrap_err();
    assert!(error.to_string().contains("the state in"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_spares_the_last_checkpoint() {
    let folder = tempdir().unwrap();
    run_in(folder.path(), 2, 1, false).unwrap();
    let path = folder.path().join("checkpoint");
    let good = fs::read(&path).unwrap();
    let partial = folder.path().join("checkpoint.partial");
    std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
    match run_in(folder.path(), 4, 1, true) {
        Err(RunError::Checkpoint(CheckpointError::Io { verb: "write", source, .. })) => {
            assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(&path).unwrap(), good);
    assert!(fs::symlink_metadata(&partial).is_err(), "nothing half-written is left");
    let mut p = Bowl::default();
    let recorder = Recorder::new("/dev/full", 1);
    match toy_run(&mut p).stop(Stop::Steps(3)).observe(recorder).run() {
        Err(RunError::Observer(e)) => {
            assert_eq!(e.kind(), std::io::ErrorKind::StorageFull);
            assert!(e.to_string().starts_with("/dev/full: "), "{e}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_configuration_is_refused_by_name() {
    let folder = tempdir().unwrap();
    run_in(folder.path(), 3, 1, false).unwrap();
    let path = folder.path().join("checkpoint");
    let refuse = |method: &Toy, seed: u64, settings: (&str, u32), expected: &str| {
        let mut p = Bowl::default();
        let run = Run::new(method, &mut p).seed(Seed(seed)).configuration(&settings).stop(Stop::Steps(9));
        match run.resume(&path).unwrap().run() {
            Err(RunError::Checkpoint(e @ CheckpointError::Different { .. })) => {
                assert!(e.to_string().contains(expected), "{e}");
            }
            other => panic!("{other:?}"),
        }
    };
    refuse(&Toy { lr: 0.06 }, 7, ("bowl", 3), "parameters.lr = 0.05 but this run has parameters.lr = 0.06");
    refuse(&TOY, 8, ("bowl", 3), "seed = 7");
    refuse(&TOY, 7, ("bowl", 4), "run[1] = 3 ");
}

#[test]
fn unwritable_places_fail_before_the_first_step() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    // Below a file nothing can be created, whoever runs the test.
    for place in [file.join("checkpoint"), folder.path().join("no/such/folder/checkpoint")] {
        let mut p = Bowl::default();
        let checkpointer = Checkpointer { path: place.clone(), every: Every::Steps(1) };
        let error = toy_run(&mut p).stop(Stop::Steps(3)).checkpoint(checkpointer).run().unwrap_err();
        assert!(error.to_string().contains("cannot write checkpoint"), "{error}");
        let recorder = Recorder::new(place, 1);
        let error = toy_run(&mut p).stop(Stop::Steps(3)).observe(recorder).run().unwrap_err();
        assert!(error.to_string().contains("checkpoint: "), "{error}");
        assert_eq!(p.dynamic, 0, "no step was made");
    }
}

#[test]
fn bad_settings_are_refused() {
    let mut p = Bowl::default();
    let error = Run::new(&Toy { lr: -1.0 }, &mut p).stop(Stop::Steps(1)).run().unwrap_err();
    assert_eq!(error.to_string(), "lr = -1 is not allowed; use a number ≥ 0");
    let error = toy_run(&mut p).stop(Stop::Tolerance(-1.0)).run().unwrap_err();
    assert!(error.to_string().starts_with("tolerance = -1"), "{error}");
    let every = Every::Steps(0);
    let checkpointer = Checkpointer { path: "unused".into(), every };
    let error = toy_run(&mut p).stop(Stop::Steps(1)).checkpoint(checkpointer).run().unwrap_err();
    assert!(error.to_string().contains("at least 1 step"), "{error}");
}

#[test]
fn a_failing_callback_names_the_step() {
    let mut p = Bowl::default();
    let fail = |_: &mut Tick<'_, ToyState>, _: &mut Bowl| Err("the test set is gone".into());
    let error = toy_run(&mut p).stop(Stop::Steps(9)).each(2, fail).run().unwrap_err();
    assert_eq!(error.to_string(), "step 2: the test set is gone");
}

#[test]
fn the_recorder_writes_null_for_what_is_not_a_number() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("m.jsonl");
    let mut p = Bowl::default();
    let note = |tick: &mut Tick<'_, ToyState>, _: &mut Bowl| {
        tick.note("broken", f64::NAN);
        Ok(ControlFlow::Continue(()))
    };
    toy_run(&mut p).stop(Stop::Steps(1)).each(1, note).observe(Recorder::new(&path, 0)).run().unwrap();
    let records = records(&path);
    assert_eq!((&records[0]["broken"], &records[0]["step"]), (&serde_json::Value::Null, &1.into()));
}

#[test]
fn nothing_moves_is_a_rule_that_a_resumed_run_keeps() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let still = Stop::Still { metric: Some("grad_max"), within: 0.5, steps: 4 };
    let whole = toy_run(&mut Bowl::default()).stop(still).run().unwrap();
    assert_eq!(whole.stopped_because, StopReason::Still);
    let checkpointer = Checkpointer { path: path.clone(), every: Every::Steps(1) };
    let cut = Stop::Steps(whole.steps - 2);
    toy_run(&mut Bowl::default()).stop(cut).stop(still).checkpoint(checkpointer).run().unwrap();
    let mut p = Bowl::default();
    let resumed = toy_run(&mut p).stop(still).resume(&path).unwrap().run().unwrap();
    assert_eq!((resumed.steps, resumed.stopped_because), (whole.steps, StopReason::Still));
    let never = Stop::Still { metric: None, within: -1.0, steps: 4 };
    assert!(toy_run(&mut Bowl::default()).stop(never).run().unwrap_err().to_string().contains("within"));
    // No step at all would be "nothing moves" after the first one.
    let at_once = Stop::Still { metric: None, within: 0.0, steps: 0 };
    assert!(toy_run(&mut Bowl::default()).stop(at_once).run().unwrap_err().to_string().contains("steps"));
}

/// [`Toy`] that says what it needs; where the fourth step follows three others in one process, its problem
/// is stopped in the middle of it.
#[derive(Serialize)]
struct Hurried;

impl Method<Bowl> for Hurried {
    type State = ToyState;
    type Solution = (Vec<f64>, f64);
    fn name(&self) -> &'static str {
        "hurried"
    }
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
    fn init(&self, p: &mut Bowl, seed: Seed) -> Result<ToyState, MethodError> {
        TOY.init(p, seed)
    }
    fn step(&self, p: &mut Bowl, s: &mut ToyState) -> Result<Progress, MethodError> {
        match (p.batch, p.dynamic) {
            (3, 3) => Err(MethodError::Stopped(StopReason::Time)),
            _ => TOY.step(p, s),
        }
    }
    fn upcoming(&self, _: &ToyState) -> u64 {
        3
    }
    fn finish(&self, p: &mut Bowl, s: ToyState) -> Result<Self::Solution, MethodError> {
        TOY.finish(p, s)
    }
}

#[test]
fn a_step_stopped_in_its_middle_does_not_count() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let saver = Checkpointer { path: path.clone(), every: Every::Steps(100) };
    let mut p = Bowl::default();
    let cut = Run::new(&Hurried, &mut p).seed(Seed(1)).checkpoint(saver).stop(Stop::Steps(STEPS));
    let cut = cut.run().unwrap();
    assert_eq!((cut.steps, cut.evaluations, cut.stopped_because), (3, 6, StopReason::Time));
    let mut p = Bowl::default();
    let whole = Run::new(&Hurried, &mut p).seed(Seed(1)).stop(Stop::Steps(STEPS)).resume(&path).unwrap();
    let whole = whole.run().unwrap();
    let plain = Run::new(&TOY, &mut Bowl::default()).seed(Seed(1)).stop(Stop::Steps(STEPS)).run().unwrap();
    assert_eq!((whole.steps, bits(&whole.solution)), (STEPS, bits(&plain.solution)));
}

#[test]
fn a_budget_pays_for_the_next_step_and_the_end() {
    // Steps of 2 evaluations, 1 more for the end: after the second step 3 more would be 7.
    let run = |n| Run::new(&Hurried, &mut Bowl::default()).stop(Stop::Evaluations(n)).run().unwrap();
    for (budget, steps) in [(2, 0), (3, 1), (4, 1), (5, 2), (6, 2)] {
        let end = run(budget);
        assert_eq!((end.steps, end.stopped_because), (steps, StopReason::Evaluations), "{budget}");
    }
}

#[test]
fn a_metric_below_its_limit_ends_a_run() {
    let small = Stop::Below { metric: "grad_max", value: 2.0 };
    let end = toy_run(&mut Bowl::default()).stop(small).run().unwrap();
    assert!(end.stopped_because == StopReason::Below && end.progress.metric("grad_max") < Some(2.0));
    let never = Stop::Below { metric: "grad_max", value: f64::NAN };
    assert!(toy_run(&mut Bowl::default()).stop(never).run().unwrap_err().to_string().contains("grad_max"));
}
