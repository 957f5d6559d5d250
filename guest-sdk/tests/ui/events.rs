use lacewing_sdk::{Event, Result};

#[lacewing_sdk::events]
fn a_single_one(event: Event<u32>) -> Result<()> {
    let _ = event;
    Ok(())
}

#[lacewing_sdk::events]
fn wrong_result(batch: Vec<Event<u32>>) -> Vec<u32> {
    batch.into_iter().map(|event| event.data).collect()
}

#[lacewing_sdk::events]
fn two(first: Event<u32>, rest: Vec<Event<u32>>) -> Result<()> {
    let _ = (first, rest);
    Ok(())
}

fn main() {}
