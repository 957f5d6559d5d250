//! An event that is being read: attributes come one by one, by their names.

use bytes::Bytes;

use super::{CloudEvent, CloudEventError, SPEC_VERSION, attribute};

#[derive(Default)]
pub(super) struct Draft {
    version: Option<String>,
    id: Option<String>,
    source: Option<String>,
    ty: Option<String>,
    /// The other attributes, and the data.
    rest: CloudEvent,
}

impl Draft {
    /// Sets an attribute that is in its canonical form.
    pub(super) fn set(&mut self, name: &str, value: String) -> Result<(), CloudEventError> {
        let slot = match name {
            "specversion" => &mut self.version,
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.ty,
            "subject" => &mut self.rest.subject,
            "time" => &mut self.rest.time,
            "datacontenttype" => &mut self.rest.datacontenttype,
            "dataschema" => &mut self.rest.dataschema,
            extension => {
                attribute::extension_name(extension)?;
                self.rest.extensions.push((extension.to_owned(), value));
                return Ok(());
            }
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(attribute::twice(name)),
        }
    }

    pub(super) fn datacontenttype(&self) -> Option<&str> {
        self.rest.datacontenttype.as_deref()
    }

    /// The checked event.
    pub(super) fn finish(self, data: Option<Bytes>) -> Result<CloudEvent, CloudEventError> {
        let missing = |name| {
            let reason = "is missing: an event has `specversion`, `id`, `source` and `type`";
            CloudEventError::of(name, reason)
        };
        let version = self.version.ok_or_else(|| missing("specversion"))?;
        if version != SPEC_VERSION {
            let reason = format!("is {version:?}: send an event of version \"{SPEC_VERSION}\"");
            return Err(CloudEventError::of("specversion", reason));
        }
        let event = CloudEvent {
            id: self.id.ok_or_else(|| missing("id"))?,
            source: self.source.ok_or_else(|| missing("source"))?,
            ty: self.ty.ok_or_else(|| missing("type"))?,
            data,
            ..self.rest
        };
        event.check()?;
        Ok(event)
    }
}
