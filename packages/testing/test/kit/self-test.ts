import { AssertionError } from 'node:assert'
import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { OffloadError } from '@cni-offload/sdk'
import { afterAll, describe, expect, it } from 'vitest'
import { isRoot, ROOT_REASON } from '../../src/index.ts'
import type { ComplianceCase } from '../../src/kit/case.ts'

/** A kit, what it is tried on, and how that is broken. */
export interface SelfTest<F, S extends F & AsyncDisposable> {
  readonly kit: string
  readonly cases: readonly ComplianceCase<F>[]
  readonly mutants: Readonly<Record<string, Readonly<Record<string, (sound: S) => F>>>>
  sound(net: LinuxNet): Promise<S>
}

/** Registers tests that every case of a kit fails for each implementation that is broken in its respect. */
export function selfTest<F, S extends F & AsyncDisposable>({ kit, cases, mutants, sound }: SelfTest<F, S>): void {
  it(`the ${kit} kit has a broken implementation for every case, and a case for every broken implementation`, () => {
    expect(Object.keys(mutants).toSorted()).toEqual(cases.map(({ id }) => id).toSorted())
    expect(new Set(cases.map(({ id }) => id)).size).toBe(cases.length)
  })

  describe.skipIf(!isRoot())(`every case of the ${kit} kit fails for a broken implementation (${ROOT_REASON})`, () => {
    const net = createLinuxNet()
    afterAll(() => net[Symbol.asyncDispose]())

    for (const compliance of cases) {
      for (const [title, mutate] of Object.entries(mutants[compliance.id] ?? {})) {
        it(`${compliance.id} notices what ${title}`, { timeout: 30_000 * (compliance.patience ?? 1) }, async () => {
          await using fixture = await sound(net)
          const failure: unknown = await compliance.run(mutate(fixture)).then(
            () => undefined,
            (error: unknown) => error,
          )
          // A TypeError or a skipped case would mean that kit or mutant is broken in a way that nobody meant.
          expect(
            failure instanceof AssertionError || OffloadError.is(failure),
            `it fails by an assertion or a refusal, not with ${String(failure)}`,
          ).toBe(true)
        })
      }
    }
  })
}
