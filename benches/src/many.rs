//! A host file with many functions, which have one of some components each.
//!
//! All components are the example `hello` with a few bytes that make each another one: another
//! artifact, which is compiled, hashed and mapped for itself.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

/// How many of what.
#[derive(Clone, Copy, Debug)]
pub struct Many {
    /// Registered functions. They stand in manifests of a hundred.
    pub functions: usize,
    /// Distinct components.
    pub components: usize,
    /// Functions that may be resident.
    pub resident: usize,
}

/// Functions in one manifest.
const IN_APP: usize = 100;
/// Manifests of one tenant.
const IN_TENANT: usize = 100;

/// The host name of a function, and its path.
pub fn place_of(function: usize) -> (String, String) {
    let app = function / IN_APP;
    (format!("t{}.example.com", app / IN_TENANT), format!("/a{app}/f{function}"))
}

impl Many {
    /// Writes host file, manifests and components into a directory. Gives the host file.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub fn write(&self, dir: &Path, component: &Path) -> io::Result<PathBuf> {
        let component = fs::read(component)?;
        for index in 0..self.components {
            let mut bytes = component.clone();
            bytes.extend(custom_section(format!("{index:08}").as_bytes()));
            fs::write(dir.join(format!("c{index}.wasm")), bytes)?;
        }
        let mut host = format!(
            "listen = [\"127.0.0.1:0\"]\nadmin = \"off\"\ncache_dir = \"cache\"\nlog.requests = \"none\"\nresidency = {{ max_functions = {}, memory_mib = 1048576 }}\n",
            self.resident
        );
        for app in 0..self.functions.div_ceil(IN_APP) {
            let mut manifest = format!("app = \"a{app}\"\n");
            for function in app * IN_APP..self.functions.min((app + 1) * IN_APP) {
                let (_, path) = place_of(function);
                let component = function % self.components;
                // Infallible: writing to a string does not fail.
                let _ = writeln!(
                    manifest,
                    "[functions.f{function}]\ncomponent = \"c{component}.wasm\"\nroutes = [\"{path}\"]"
                );
            }
            fs::write(dir.join(format!("a{app}.toml")), manifest)?;
        }
        let apps = self.functions.div_ceil(IN_APP);
        for tenant in 0..apps.div_ceil(IN_TENANT) {
            let apps = (tenant * IN_TENANT..apps.min((tenant + 1) * IN_TENANT))
                .map(|app| format!("\"a{app}.toml\""))
                .collect::<Vec<_>>()
                .join(", ");
            let (name, _) = place_of(tenant * IN_TENANT * IN_APP);
            let _ = writeln!(host, "[tenants.t{tenant}]\nhosts = [\"{name}\"]\napps = [{apps}]");
        }
        let path = dir.join("host.toml");
        fs::write(&path, host)?;
        Ok(path)
    }
}

/// A custom section, which may follow any component: its id, its size, its name `n`, and its
/// contents.
fn custom_section(contents: &[u8]) -> Vec<u8> {
    // Sizes below 128 take one byte in LEB128.
    let size = u8::try_from(contents.len() + 2).unwrap_or(u8::MAX);
    let mut section = vec![0, size, 1, b'n'];
    section.extend(contents);
    section
}
