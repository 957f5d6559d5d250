//! Histories that are known to be serializable, or not.

use super::*;

/// Transactions that run at once, by what each saw.
fn history(steps: &[&[Step]]) -> Vec<Transaction> {
    let transaction = |(id, steps): (u32, &&[Step])| Transaction {
        id,
        steps: Some(steps.to_vec()),
        sent: u64::from(id),
        answered: 1000 + u64::from(id),
    };
    (0..).zip(steps).map(transaction).collect()
}

fn read(list: u32, ids: &[u32]) -> Step {
    Step::Read(list, ids.to_vec())
}

fn append(list: u32, ids: &[u32]) -> Step {
    Step::Append(list, ids.to_vec())
}

#[test]
fn an_order_that_explains_all_is_no_anomaly() {
    let history = history(&[
        &[append(0, &[]), read(0, &[0]), read(1, &[])],
        &[read(0, &[0]), append(1, &[]), Step::Listed(vec![0, 1])],
        &[read(0, &[0]), read(1, &[1])],
    ]);
    assert_eq!(anomalies(&history), [""; 0]);
}

#[test]
fn known_anomalies_are_found() {
    for (name, steps, anomaly) in [
        (
            "write skew",
            &[
                &[read(1, &[]), append(0, &[])][..],
                &[read(0, &[]), append(1, &[])],
                &[read(0, &[0]), read(1, &[1])],
            ][..],
            "a cycle: 0 -> 1 -> 0",
        ),
        (
            "a lost update",
            &[&[append(0, &[])], &[append(0, &[])], &[read(0, &[1])]],
            "0 appended to list 0, and its number is lost",
        ),
        (
            "a phantom",
            &[
                &[Step::Listed(vec![]), append(0, &[])],
                &[Step::Listed(vec![]), append(1, &[])],
                &[read(0, &[0]), read(1, &[1])],
            ],
            "a cycle: 0 -> 1 -> 0",
        ),
        (
            "a read that is torn",
            &[&[append(0, &[]), append(1, &[])], &[read(0, &[0]), read(1, &[])], &[read(1, &[0])]],
            "a cycle: 0 -> 1 -> 0",
        ),
        (
            "two states",
            &[&[append(0, &[])], &[read(0, &[]), read(0, &[0])]],
            "1 saw list 0 twice, and not the same",
        ),
    ] {
        let found = anomalies(&history(steps));
        assert!(found.iter().any(|found| found == anomaly), "{name}: {found:?}");
    }
}

#[test]
fn effects_of_a_transaction_that_gave_up_are_found() {
    let mut history = history(&[&[append(0, &[])], &[read(0, &[0])]]);
    history[0].steps = None;
    assert_eq!(anomalies(&history), ["list 0 has 0, which gave up"]);
}

#[test]
fn a_read_of_what_was_before_an_answer_is_found() {
    let mut history = history(&[&[append(0, &[])], &[read(0, &[])], &[read(0, &[0])]]);
    assert_eq!(anomalies(&history), [""; 0]);
    (history[1].sent, history[1].answered) = (2000, 2001);
    assert_eq!(anomalies(&history), ["a cycle over time: 0 -> 2 -> 1 -> 0"]);
}
