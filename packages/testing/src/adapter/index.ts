/**
 * The compliance kit for adapters: proves that a CniAdapter keeps its contract, with real pods and real traffic.
 *
 * @packageDocumentation
 */
import type { ComplianceCase } from '../kit/case.ts'
import { registerSuite, type SuiteOptions } from '../kit/register.ts'
import { attachCases } from './cases/attach.ts'
import { crashCases } from './cases/crash.ts'
import { detachCases } from './cases/detach.ts'
import { portCases } from './cases/ports.ts'
import { requestCases } from './cases/requests.ts'
import { stateCases } from './cases/state.ts'
import type { AdapterFixture } from './fixture.ts'

export { crashAdapter } from './crash/crash-adapter.ts'
export type { CrashOrder } from './crash/order.ts'
export { CaseSkipped, type ComplianceCase } from '../kit/case.ts'
export type { SuiteOptions } from '../kit/register.ts'
export type { AdapterFixture, AdapterProcess, Tamper } from './fixture.ts'

/** All requirements on an adapter. */
export const adapterCases: readonly ComplianceCase<AdapterFixture>[] = [
  ...attachCases,
  ...detachCases,
  ...stateCases,
  ...portCases,
  ...requestCases,
  ...crashCases,
]

/** Registers all requirements as vitest tests for one adapter. `setup` makes a fresh fixture for each of them. */
export function adapterSuite(options: SuiteOptions<AdapterFixture>): void {
  registerSuite('CniAdapter', adapterCases, options)
}
