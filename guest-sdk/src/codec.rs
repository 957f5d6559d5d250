//! Payloads and values: JSON, except for `Bytes` and `Vec<u8>`, which are a payload as it is.

use std::any::Any;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads a value from a payload.
pub(crate) fn decode<T: DeserializeOwned + 'static>(payload: Vec<u8>) -> Result<T, Explained> {
    let mut value: Option<T> = None;
    let slot: &mut dyn Any = &mut value;
    if let Some(bytes) = slot.downcast_mut::<Option<Vec<u8>>>() {
        *bytes = Some(payload);
    } else if let Some(bytes) = slot.downcast_mut::<Option<Bytes>>() {
        *bytes = Some(payload.into());
    } else {
        return from_json(&payload);
    }
    // Filled above: an empty text is never read.
    value.map_or_else(|| from_json(&[]), Ok)
}

/// Reads a value from JSON.
pub(crate) fn from_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, Explained> {
    serde_json::from_slice(text).map_err(|error| explain::<T>(text, &error))
}

/// Writes a value as a payload.
pub(crate) fn encode<T: Serialize + 'static>(value: T) -> serde_json::Result<Vec<u8>> {
    let mut value = Some(value);
    let slot: &mut dyn Any = &mut value;
    if let Some(bytes) = slot.downcast_mut::<Option<Vec<u8>>>() {
        return Ok(bytes.take().unwrap_or_default());
    }
    if let Some(bytes) = slot.downcast_mut::<Option<Bytes>>() {
        return Ok(bytes.take().unwrap_or_default().into());
    }
    serde_json::to_vec(&value)
}

/// Whether a payload for this type is bytes as they are.
pub(crate) fn is_raw<T: 'static>() -> bool {
    use std::any::TypeId;
    [TypeId::of::<Vec<u8>>(), TypeId::of::<Bytes>()].contains(&TypeId::of::<T>())
}

/// The fault of a text that cannot be read, with the path to the place where there is one.
///
/// The path costs bookkeeping on the way down, so it is found by a second reading.
#[cold]
fn explain<T: DeserializeOwned>(payload: &[u8], error: &serde_json::Error) -> Explained {
    let said = error.to_string();
    let what = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what).to_owned();
    let mut path = None;
    if error.is_data() {
        let mut reader = serde_json::Deserializer::from_slice(payload);
        path = serde_path_to_error::deserialize::<_, T>(&mut reader)
            .err()
            .map(|error| error.path().to_string())
            .filter(|path| path != ".");
    }
    Explained { what, path, line: error.line(), column: error.column(), is_data: error.is_data() }
}

/// Why a text could not be read.
#[derive(Debug)]
pub(crate) struct Explained {
    /// The message of serde, without the place.
    pub(crate) what: String,
    /// The path to the value that did not fit: `items[2].price`.
    pub(crate) path: Option<String>,
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// Whether it is well-formed JSON of another shape.
    pub(crate) is_data: bool,
}

impl Explained {
    /// One sentence, about `subject`.
    pub(crate) fn sentence(&self, subject: &str) -> String {
        let Explained { what, path, line, column, is_data } = self;
        if !is_data {
            return format!("{subject} is not valid JSON, line {line} column {column}: {what}");
        }
        let place = path.as_ref().map_or(String::new(), |path| format!(" at `{path}`"));
        format!(
            "{subject} does not have the expected shape{place}, line {line} column {column}: {what}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_a_payload_as_they_are() {
        assert_eq!(decode::<Vec<u8>>(vec![1, 2]).unwrap(), [1, 2]);
        assert_eq!(decode::<Bytes>(vec![1, 2]).unwrap(), [1, 2][..]);
        assert_eq!(encode(vec![1u8, 2]).unwrap(), [1, 2]);
        assert_eq!(encode(Bytes::from_static(b"x")).unwrap(), b"x");
    }

    #[test]
    fn everything_else_is_json() {
        assert_eq!(decode::<Vec<u16>>(b"[1,2]".to_vec()).unwrap(), [1, 2]);
        assert_eq!(encode("text".to_owned()).unwrap(), b"\"text\"");
        assert!(decode::<String>(Vec::new()).is_err());
    }

    #[test]
    fn a_decoding_error_has_its_path() {
        let payload = b"[[1],\n[true]]";
        let wrong = decode::<Vec<Vec<u8>>>(payload.to_vec()).unwrap_err();
        assert_eq!(
            wrong.sentence("the input"),
            "the input does not have the expected shape at `[1][0]`, line 2 column 5: \
             invalid type: boolean `true`, expected u8"
        );
    }
}
