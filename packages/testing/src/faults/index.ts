/**
 * Fault injection: crashes of a process at a named step, calls between host and agent that get lost, come twice, late or in
 * another order, links that are cut, adapters that are slow or lie, disks that are full. No vitest.
 *
 * @packageDocumentation
 */
export * from './call-faults.ts'
export * from './crash-control.ts'
export { CRASH_FILE_VARIABLE, type CrashPlan, type CrashReport } from './crash-plan.ts'
export * from './cut-link.ts'
export * from './faulty-api.ts'
export * from './lying-adapter.ts'
export * from './seeded-random.ts'
export * from './slow-adapter.ts'
export * from './tiny-disk.ts'
export * from './wrap-adapter.ts'
