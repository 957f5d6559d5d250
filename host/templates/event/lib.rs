//! Handles one event at a time.

use lacewing_sdk::{Error, Event, Result};
use serde::Deserialize;

#[derive(Deserialize)]
struct Upload {
    key: String,
    bytes: u64,
}

/// Delivery is at least once: the same event may come again, with the same `id` from the same
/// `source`.
#[lacewing_sdk::event]
fn on_upload(event: Event<Upload>) -> Result<()> {
    if event.data.bytes == 0 {
        // Trying again would not help: to the dead-letter queue. Any other error is tried again.
        return Err(Error::fatal(format!("{} is empty", event.data.key)));
    }
    println!(
        "{}: {} bytes, attempt {}",
        event.data.key, event.data.bytes, event.attempt
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Upload, on_upload};
    use lacewing_sdk::{error::Retry, test};

    fn upload(bytes: u64) -> Upload {
        Upload {
            key: "a.png".into(),
            bytes,
        }
    }

    #[test]
    fn an_upload_is_handled() {
        assert!(on_upload(test::event(upload(7))).is_ok());
    }

    #[test]
    fn an_empty_upload_is_not_tried_again() {
        let error = on_upload(test::event(upload(0))).unwrap_err();
        assert_eq!(error.retry(), Retry::Never);
    }
}
