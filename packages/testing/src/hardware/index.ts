/**
 * The compliance kit for hardware backends: proves that a HostDevice and a DpuDevice keep their contracts.
 *
 * @packageDocumentation
 */
import type { ComplianceCase } from '../kit/case.ts'
import { registerSuite, type SuiteOptions } from '../kit/register.ts'
import { acquireCases } from './cases/acquire.ts'
import { configureCases } from './cases/configure.ts'
import { discoverCases } from './cases/discover.ts'
import { lifecycleCases } from './cases/lifecycle.ts'
import { portCases } from './cases/ports.ts'
import { programCases } from './cases/programs.ts'
import { releaseCases } from './cases/release.ts'
import type { HardwareFixture } from './fixture.ts'

export { CaseSkipped, type ComplianceCase } from '../kit/case.ts'
export type { SuiteOptions } from '../kit/register.ts'
export type { HardwareFixture } from './fixture.ts'

/** All requirements on a hardware backend. */
export const hardwareCases: readonly ComplianceCase<HardwareFixture>[] = [
  ...discoverCases,
  ...acquireCases,
  ...configureCases,
  ...releaseCases,
  ...programCases,
  ...portCases,
  ...lifecycleCases,
]

/** Registers all requirements as vitest tests for one backend. `setup` makes a fresh fixture for each of them. */
export function hardwareSuite(options: SuiteOptions<HardwareFixture>): void {
  registerSuite('HostDevice and DpuDevice', hardwareCases, options)
}
