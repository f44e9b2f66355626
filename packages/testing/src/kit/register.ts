import { describe, it } from 'vitest'
import { isRoot, ROOT_REASON } from '../root.ts'
import { CaseSkipped, type ComplianceCase } from './case.ts'

/** What a suite is registered with. */
export interface SuiteOptions<F extends AsyncDisposable> {
  /** Name of the implementation under test. */
  readonly name: string
  /** Makes a fresh fixture; every case gets its own and disposes it. */
  setup(): Promise<F>
  /** Milliseconds that one case may take, setup included. @defaultValue 30000 */
  readonly timeoutMs?: number
}

/** Registers the cases as vitest tests. A skipped case shows its reason. */
export function registerSuite<F extends AsyncDisposable>(
  contract: string,
  cases: readonly ComplianceCase<F>[],
  options: SuiteOptions<F>,
): void {
  const title = `${options.name} keeps the contract of ${contract}`
  describe.skipIf(!isRoot())(isRoot() ? title : `${title} (${ROOT_REASON})`, () => {
    for (const compliance of cases) {
      it(`${compliance.id}: ${compliance.title}`, { timeout: (options.timeoutMs ?? 30_000) * (compliance.patience ?? 1) }, async (test) => {
        await using fixture = await options.setup()
        try {
          await compliance.run(fixture)
        } catch (error) {
          if (!(error instanceof CaseSkipped)) throw error
          // Reporters that are not verbose show neither the reason nor the title of a skipped test.
          process.stderr.write(`${options.name}: ${compliance.id} is skipped: ${error.message}\n`)
          test.skip(error.message)
        }
      })
    }
  })
}
