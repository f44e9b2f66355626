/**
 * Small eBPF programs for the frames of a link, put together without a compiler.
 *
 * @packageDocumentation
 */
export * from './assembler.ts'
export * from './frames.ts'
export type { BpfMap, BpfProgram } from './program.ts'
