//! Programs as functions: whatever they print, a value belongs to the point that was asked.

use std::time::{Duration, Instant};

use thalweg_optim::blackbox::{BlackBox, Call, Constraints, External};

/// A process of this shell text, with one worker.
fn process(text: &str) -> External {
    let quoted = text.replace('\'', "'\\''");
    External::new(Call::Process(format!("sh -c '{quoted}'")), 1, Duration::from_secs(10)).unwrap()
}

/// Its values at 0, 1, 2, …, a batch each, and what the first failure said.
fn squares(program: &External, n: usize) -> (Vec<f64>, String) {
    let mut values = vec![0.0; n];
    for (k, value) in values.iter_mut().enumerate() {
        program.values(&[k as f64], 1, std::slice::from_mut(value));
    }
    (values, program.complaint().unwrap_or_default())
}

/// No value is another point's.
fn in_step(values: &[f64]) -> bool {
    values.iter().enumerate().all(|(k, v)| v.is_nan() || *v == (k * k) as f64)
}

#[test]
fn no_value_belongs_to_another_point_however_much_a_process_prints() {
    let clean = "while read x; do echo $((x * x)); done";
    let (values, _) = squares(&process(clean), 40);
    assert!(in_step(&values) && values.iter().all(|v| v.is_finite()));
    // Of the talkative ones some answer never, others most of the time.
    for (text, least, words) in [
        ("echo Loaded model v1.2; while read x; do echo $((x * x)); done", 0, "Loaded"),
        ("echo 0; while read x; do echo $((x * x)); done", 0, "nobody asked"),
        ("while read x; do echo $((x * x)); echo done; done", 0, "nobody asked"),
        ("while read x; do echo $((x * x)); echo 7; done", 0, "nobody asked"),
        ("while read x; do echo eval $x; echo $((x * x)); done", 0, "eval"),
        (
            "n=0; while read x; do n=$((n+1)); if [ $n = 5 ]; then echo WARNING; fi; echo $((x * x)); done",
            30,
            "WARNING",
        ),
    ] {
        let (values, said) = squares(&process(text), 40);
        let answered = values.iter().filter(|v| v.is_finite()).count();
        assert!(in_step(&values), "{text}: {values:?}");
        assert!(answered >= least && said.contains(words), "{text}: {answered}, {said}");
    }
    // A line more that comes late: the values lag behind, and who asks again finds it out.
    let late = process("echo 0; while read x; do sleep 0.3; echo $((x * x)); done");
    let (values, _) = squares(&late, 5);
    assert_eq!(values[1], 0.0, "too late to be heard");
    assert_eq!(late.again(&[3.0]).unwrap().f, 9.0);
}

#[test]
fn a_point_asked_again_has_its_value_and_its_constraints() {
    let program = process("while read x; do echo $((x * x)) $((x - 2)); done");
    let program = program.constrained(Constraints { inequalities: 1, ..Constraints::default() });
    let (inside, outside) = (program.again(&[2.0]).unwrap(), program.again(&[5.0]).unwrap());
    assert_eq!((inside.f, inside.violation, outside.f, outside.violation), (4.0, 0.0, 25.0, 3.0));
    let once = External::new(Call::Once("echo $(( {x} + 1 ))".into()), 1, Duration::from_secs(10)).unwrap();
    assert_eq!(once.again(&[4.0]).unwrap().f, 5.0);
}

#[test]
fn what_a_program_says_is_bounded() {
    let began = Instant::now();
    let endless = External::new(Call::Once("yes 1; : {x}".into()), 1, Duration::from_secs(60)).unwrap();
    let mut value = [0.0];
    endless.values(&[1.0], 1, &mut value);
    assert!(value[0].is_nan() && endless.complaint().unwrap().contains("more than 16384 bytes"));
    let line = process("while read x; do yes 12345678 | head -c 1000000 | tr -d '\\n'; echo; done");
    assert!(squares(&line, 2).1.contains("more than"), "{:?}", line.complaint());
    assert!(began.elapsed() < Duration::from_secs(30), "neither waits for the end");
    // What is repeated of it is short.
    let garbage = process("while read x; do yes abc | head -c 9000 | tr -d '\\n'; echo; done");
    let said = squares(&garbage, 1).1;
    assert!(said.contains("abcabc") && said.chars().count() < 300, "{said}");
}

#[test]
fn a_program_that_cannot_work_is_given_up_with_its_last_words() {
    let missing = External::new(Call::Process("./nonexistent".into()), 1, Duration::from_secs(10)).unwrap();
    let (values, said) = squares(&missing, 3);
    assert!(values.iter().all(|v| v.is_nan()) && missing.hopeless(), "{said}");
    assert!(said.contains("127") && said.contains("not found"), "{said}");
    // The last words of a crash, and no more calls than tell it from an accident.
    let crash = process("read x; echo Traceback >&2; echo 'RuntimeError: my bug' >&2; exit 3");
    let said = squares(&crash, 10).1;
    assert!(said.contains("exit status: 3") && said.contains("RuntimeError: my bug"), "{said}");
    assert!(!crash.hopeless());
    squares(&crash, 10);
    assert!(crash.hopeless());
    let said = squares(&process("true"), 1).1;
    assert!(said.contains("no answer"), "{said}");
    // A program that says nan answers in turn, however often it does.
    let never = process("while read x; do echo nan; done");
    assert!(squares(&never, 50).1.contains("NaN") && !never.hopeless());
}
