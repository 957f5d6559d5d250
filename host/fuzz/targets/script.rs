//! A fuzzer's input, read as a script.

/// The part of an input that was not read yet.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A byte, or 0 at the end.
    pub(crate) fn or_zero(&mut self) -> u8 {
        self.byte().unwrap_or(0)
    }

    /// Up to that many bytes, or those that are left.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at(self.0.len().min(count));
        self.0 = rest;
        first
    }

    /// Bytes behind a byte that says how many.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let count = self.or_zero();
        self.bytes(count.into())
    }

    /// One of several.
    pub(crate) fn one_of<T>(&mut self, several: &'static [T]) -> &'static T {
        &several[usize::from(self.or_zero()) % several.len()]
    }

    /// Those of several whose bits are set.
    pub(crate) fn some_of<T, const N: usize>(
        &mut self,
        several: &'static [T; N],
    ) -> impl Iterator<Item = &'static T> + use<T, N> {
        let bits = u16::from_be_bytes([self.or_zero(), self.or_zero()]);
        several.iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1).map(|(_, one)| one)
    }

    /// A number whose size the fuzzer chooses: 0 to some hundred thousand.
    pub(crate) fn size(&mut self) -> usize {
        let byte = usize::from(self.or_zero());
        (byte & 15) << (byte >> 4)
    }

    /// A chunk of a body as HTTP/1.1 has them, the last one if it is empty.
    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        let style = self.or_zero();
        let data = self.piece();
        let size = data.len() + usize::from(style >> 6);
        let extension = if style & 1 == 0 { "" } else { ";a=b" };
        let mut chunk = format!("{size:x}{extension}\r\n").into_bytes();
        if size == 0 && style & 2 != 0 {
            chunk.extend(b"x-trailer: a\r\n");
        }
        chunk.extend(data);
        chunk.extend(b"\r\n");
        chunk
    }
}
