import { AssertionError } from 'node:assert'
import { createLinuxNet } from '@cni-offload/linux'
import { OffloadError } from '@cni-offload/sdk'
import { afterAll, describe, expect, it } from 'vitest'
import { softFixture } from '../../../hw-soft/test/soft-card.ts'
import { hardwareCases } from '../../src/hardware/index.ts'
import { isRoot, ROOT_REASON } from '../../src/index.ts'
import { hardwareMutants } from './mutants.ts'

it('there is a broken backend for every case, and a case for every broken backend', () => {
  expect(Object.keys(hardwareMutants).toSorted()).toEqual(hardwareCases.map(({ id }) => id).toSorted())
})

it('no two cases have the same id', () => {
  expect(new Set(hardwareCases.map(({ id }) => id)).size).toBe(hardwareCases.length)
})

describe.skipIf(!isRoot())(`every case fails for a broken backend (${ROOT_REASON})`, () => {
  const net = createLinuxNet()
  afterAll(() => net[Symbol.asyncDispose]())

  for (const compliance of hardwareCases) {
    for (const [title, mutate] of Object.entries(hardwareMutants[compliance.id] ?? {})) {
      it(`${compliance.id} notices a backend that ${title}`, async () => {
        await using sound = await softFixture(net)
        const failure: unknown = await compliance.run(mutate(sound)).then(
          () => undefined,
          (error: unknown) => error,
        )
        // A TypeError would mean that the mutant or the kit is broken in a way that nobody meant.
        expect(failure instanceof AssertionError || OffloadError.is(failure), `it fails by an assertion or a refusal, not with ${String(failure)}`).toBe(true)
      })
    }
  }
})
