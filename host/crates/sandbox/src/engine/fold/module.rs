//! The two modules that are written anew.

use std::convert::Infallible;

use wasm_encoder::{
    CodeSection, ConstExpr, ElementSection, Elements, EntityType, ExportKind, ExportSection,
    Function, FunctionSection, ImportSection, Instruction, Module, RefType, TableSection,
    TableType, TypeSection,
    reencode::{Reencode, RoundtripReencoder, utils},
};
use wasmparser::{
    CodeSectionReader, ExportSectionReader, FunctionSectionReader, Import, ImportSectionReader,
    Parser, TableSectionReader, TypeRef, TypeSectionReader,
};

use super::{Result, TABLE, shape::Shape};

/// Main, with functions of its own in the place of those that it imported from the shim.
///
/// Imported functions come first in the index space. Those that stay keep their order, the new ones
/// follow, and together they are as many as before: the indices of all other functions do not
/// change.
pub(super) fn with_trampolines(shape: &Shape<'_>, bytes: &[u8]) -> Result<Module> {
    let mut main =
        Main { shape, params: Vec::new(), imported: Vec::new(), trampolines: Vec::new() };
    let mut module = Module::new();
    main.parse_core_module(&mut module, Parser::new(0), bytes)?;
    Ok(module)
}

struct Main<'a> {
    shape: &'a Shape<'a>,
    /// How many parameters each type of a function has.
    params: Vec<u32>,
    /// Where each imported function is now.
    imported: Vec<u32>,
    /// Type and slot of each new function.
    trampolines: Vec<(u32, u32)>,
}

impl Reencode for Main<'_> {
    type Error = Infallible;

    fn function_index(&mut self, func: u32) -> Result<u32> {
        Ok(self.imported.get(func as usize).copied().unwrap_or(func))
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: TypeSectionReader<'_>,
    ) -> Result {
        for ty in section.clone().into_iter_err_on_gc_types() {
            self.params.push(u32::try_from(ty?.params().len()).unwrap_or(u32::MAX));
        }
        utils::parse_type_section(self, types, section)
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result {
        let all = section.into_imports().collect::<std::result::Result<Vec<_>, _>>()?;
        let funcs = all.iter().filter(|import| matches!(import.ty, TypeRef::Func(_))).count();
        let folded = all.iter().filter(|import| folded(self.shape, import).is_some()).count();
        let (mut kept, mut new) = (0_u32, u32::try_from(funcs - folded).unwrap_or(u32::MAX));
        for import in all {
            if let Some(trampoline) = self::folded(self.shape, &import) {
                self.trampolines.push(trampoline);
                self.imported.push(new);
                new += 1;
                continue;
            }
            if matches!(import.ty, TypeRef::Func(_)) {
                self.imported.push(kept);
                kept += 1;
            }
            let ty = RoundtripReencoder.entity_type(import.ty)?;
            imports.import(import.module, import.name, ty);
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result {
        for (ty, _) in &self.trampolines {
            functions.function(*ty);
        }
        utils::parse_function_section(self, functions, section)
    }

    fn parse_table_section(
        &mut self,
        tables: &mut TableSection,
        _: TableSectionReader<'_>,
    ) -> Result {
        tables.table(table(self.shape));
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result {
        utils::parse_export_section(self, exports, section)?;
        exports.export(TABLE, ExportKind::Table, 0);
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result {
        for (ty, slot) in &self.trampolines {
            let params = self.params.get(*ty as usize).copied().unwrap_or(0);
            let mut function = Function::new([]);
            for param in 0..params {
                function.instruction(&Instruction::LocalGet(param));
            }
            let slot = self.shape.table_len + slot;
            function
                .instruction(&Instruction::I32Const(slot.cast_signed()))
                .instruction(&Instruction::CallIndirect { type_index: *ty, table_index: 0 })
                .instruction(&Instruction::End);
            code.function(&function);
        }
        utils::parse_code_section(self, code, section)
    }
}

/// Type and slot of an import that main gets from the shim.
fn folded(shape: &Shape<'_>, import: &Import<'_>) -> Option<(u32, u32)> {
    let TypeRef::Func(ty) = import.ty else { return None };
    shape.folded.get(&(import.module, import.name)).map(|slot| (ty, *slot))
}

/// Writes the imported functions into the slots behind main's own.
pub(super) fn fixup(shape: &Shape<'_>) -> Result<Module> {
    let (mut types, mut imports) = (TypeSection::new(), ImportSection::new());
    let mut funcs = Vec::new();
    for (slot, ty) in (0..).zip(&shape.slots) {
        types.ty().func_type(&RoundtripReencoder.func_type(ty.clone())?);
        imports.import("", &slot.to_string(), EntityType::Function(slot));
        funcs.push(slot);
    }
    imports.import("", TABLE, table(shape));
    let mut elements = ElementSection::new();
    let offset = ConstExpr::i32_const(shape.table_len.cast_signed());
    elements.active(None, &offset, Elements::Functions(funcs.into()));
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&elements);
    Ok(module)
}

fn table(shape: &Shape<'_>) -> TableType {
    let len = u64::from(shape.table_len) + shape.slots.len() as u64;
    TableType {
        element_type: RefType::FUNCREF,
        minimum: len,
        maximum: Some(len),
        table64: false,
        shared: false,
    }
}
