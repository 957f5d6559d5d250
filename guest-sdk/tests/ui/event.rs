use lacewing_sdk::{Context, Event, Result};

struct Order;

#[lacewing_sdk::event]
fn data_without_deserialize(event: Event<Order>) -> Result<()> {
    let _ = event;
    Ok(())
}

#[lacewing_sdk::event]
fn not_an_event(order: u32) -> Result<()> {
    let _ = order;
    Ok(())
}

#[lacewing_sdk::event]
fn a_batch(events: Vec<Event<u32>>) -> Result<()> {
    let _ = events;
    Ok(())
}

#[lacewing_sdk::event]
fn wrong_result(event: Event<u32>) -> u32 {
    event.data
}

#[lacewing_sdk::event]
fn nothing() -> Result<()> {
    Ok(())
}

#[lacewing_sdk::event]
fn too_many(context: Context, event: Event<u32>, more: u32) -> Result<()> {
    let _ = (context, event, more);
    Ok(())
}

#[lacewing_sdk::event]
async fn cannot_wait(event: Event<u32>) -> Result<()> {
    let _ = event;
    Ok(())
}

fn main() {}
