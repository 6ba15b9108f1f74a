//! What a rule plugin reports about rules: diagnostics, explanations, comparisons, needs.

use std::ffi::c_void;

use super::LannerStr;

/// `LannerDiagnostic.severity`: the rules cannot be used as they are.
pub const SEVERITY_ERROR: u32 = 1;
/// `LannerDiagnostic.severity`: probably a mistake.
pub const SEVERITY_WARNING: u32 = 2;
/// `LannerDiagnostic.severity`: information.
pub const SEVERITY_NOTE: u32 = 3;

/// `LannerComparison.relation`: none of the relations below. Treat an unknown relation as this one.
pub const RELATION_OTHER: u32 = 0;
/// `LannerComparison.relation`: whether the value equals a constant, or an address is in a network (`=`, `!=`, `in`).
pub const RELATION_EQUAL: u32 = 1;
/// `LannerComparison.relation`: whether the value is less or greater than a constant (`<`, `>=`).
pub const RELATION_ORDER: u32 = 2;
/// `LannerComparison.relation`: whether the value begins with a constant.
pub const RELATION_PREFIX: u32 = 3;
/// `LannerComparison.relation`: whether the value ends with a constant.
pub const RELATION_SUFFIX: u32 = 4;
/// `LannerComparison.relation`: whether the value contains a constant.
pub const RELATION_CONTAINS: u32 = 5;
/// `LannerComparison.relation`: whether the value fits a pattern (wildcards, a regular expression).
pub const RELATION_PATTERN: u32 = 6;

/// `LannerTest.relation`: the value equals one of the constants (`=`, `in`).
pub const TEST_EQUAL: u32 = 1;
/// `LannerTest.relation`: there is a value, and it equals none of the constants (`!=`).
pub const TEST_UNEQUAL: u32 = 2;
/// `LannerTest.relation`: the value is less than the constant.
pub const TEST_LESS: u32 = 3;
/// `LannerTest.relation`: the value is less than the constant or equal to it.
pub const TEST_LESS_OR_EQUAL: u32 = 4;
/// `LannerTest.relation`: the value is greater than the constant.
pub const TEST_GREATER: u32 = 5;
/// `LannerTest.relation`: the value is greater than the constant or equal to it.
pub const TEST_GREATER_OR_EQUAL: u32 = 6;
/// `LannerTest.relation`: there is a value (`exists`). There are no constants.
pub const TEST_EXISTS: u32 = 7;

/// A message about rule files. Since 1.1.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerDiagnostic {
    /// Bytes in this struct.
    pub size: usize,
    /// A short, stable name of the problem, for programs.
    pub code: LannerStr,
    /// The name of the file, as in `LannerRuleFile.name`; empty if the message concerns no file.
    pub file: LannerStr,
    /// What is wrong.
    pub message: LannerStr,
    /// How to fix it; may be empty.
    pub help: LannerStr,
    /// The part of the line to show; may be empty.
    pub snippet: LannerStr,
    /// The rule, macro or list concerned; may be empty.
    pub item: LannerStr,
    /// The field or event type that the host lacks, if that is the reason; else empty.
    pub missing: LannerStr,
    /// `LANNER_SEVERITY_ERROR` and so on.
    pub severity: u32,
    /// From 1; 0 if the message has no place.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// The character of `snippet` that `column` points at, from 0.
    pub caret: u32,
}

/// Takes diagnostics, one call for each. Since 1.1.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerDiagnosticSink {
    /// Pass it to `put`.
    pub ctx: *mut c_void,
    /// Copies the diagnostic.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, diagnostic: *const LannerDiagnostic)>,
}

/// A rule with all names filled in. Since 1.1.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerExplanation {
    /// Bytes in this struct.
    pub size: usize,
    /// The condition, with the contents of macros and lists in place of their names.
    pub condition: LannerStr,
    /// The event types that it can match. Ignored if `all_event_types` is set.
    pub event_types: *const LannerStr,
    /// Number of event types.
    pub event_type_count: usize,
    /// The fields that it reads.
    pub fields: *const LannerStr,
    /// Number of fields.
    pub field_count: usize,
    /// The macros and lists that it uses.
    pub parts: *const LannerStr,
    /// Number of parts.
    pub part_count: usize,
    /// 1: it can match events of every type.
    pub all_event_types: u32,
    /// 0.
    pub reserved: u32,
}

/// Takes an explanation. Since 1.1.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerExplanationSink {
    /// Pass it to `put`.
    pub ctx: *mut c_void,
    /// Copies the explanation.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, explanation: *const LannerExplanation)>,
}

/// A field that rules compare with constants. Since 1.3.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerComparison {
    /// Bytes in this struct.
    pub size: usize,
    /// The field, with its argument in brackets: `fd.sip.name`, `proc.aname[2]`.
    pub field: LannerStr,
    /// The functions that are applied to the field before it is compared, outermost first: `tolower`. May be NULL
    /// if there are none.
    pub transformers: *const LannerStr,
    /// Number of transformers.
    pub transformer_count: usize,
    /// The constants, as text. May be NULL if there are none.
    pub constants: *const LannerStr,
    /// Number of constants.
    pub constant_count: usize,
    /// `LANNER_RELATION_EQUAL` and so on.
    pub relation: u32,
    /// 0.
    pub reserved: u32,
}

/// Takes comparisons, one call for each. Since 1.3.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerComparisonSink {
    /// Pass it to `put`.
    pub ctx: *mut c_void,
    /// Copies the comparison. It reads at most 16384 constants: pass more in several calls.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, comparison: *const LannerComparison)>,
}

/// What a rule asks to keep in a file when it matches. Since 1.5.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerCapture {
    /// Bytes in this struct.
    pub size: usize,
    /// Index of the rule.
    pub rule: u32,
    /// 0.
    pub reserved: u32,
    /// How long events are kept after the match, in milliseconds. 0: as the configuration says.
    pub duration_ms: u64,
    /// How long events are kept that happened before the match, in milliseconds. `UINT64_MAX`: as the configuration
    /// says.
    pub before_ms: u64,
    /// The most events after the match. 0: any number.
    pub events: u64,
    /// The most bytes of the file. 0: as the configuration says.
    pub bytes: u64,
}

/// Takes what rules ask to keep, one call for each rule. Since 1.5.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerCaptureSink {
    /// Pass it to `put`.
    pub ctx: *mut c_void,
    /// Copies it.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, capture: *const LannerCapture)>,
}

/// A comparison of a field with constants. Without a value, no comparison holds. Since 1.6.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerTest {
    /// The field, as the rules have it: `evt.failed`, `evt.rawarg.flags`.
    pub field: LannerStr,
    /// The constants, as text: `true`, `-1`. May be NULL if there are none.
    pub constants: *const LannerStr,
    /// Number of constants; 1 for those relations that compare with one.
    pub constant_count: usize,
    /// `LANNER_TEST_EQUAL` and so on. An unknown relation always holds.
    pub relation: u32,
    /// 1: the comparison must not hold.
    pub negated: u32,
}

/// Events that rules may match: those of a type for which all tests hold. Since 1.6.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerNeed {
    /// Bytes in this struct.
    pub size: usize,
    /// The event type, as from `event_types`.
    pub event_type: LannerStr,
    /// The tests. May be NULL if there are none.
    pub tests: *const LannerTest,
    /// Number of tests.
    pub test_count: usize,
}

/// Takes needs, one call for each. Since 1.6.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LannerNeedSink {
    /// Pass it to `put`.
    pub ctx: *mut c_void,
    /// Copies the need.
    pub put: Option<unsafe extern "C" fn(ctx: *mut c_void, need: *const LannerNeed)>,
}
