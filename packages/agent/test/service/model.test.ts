import { formatAttachmentKey } from '@cni-offload/sdk'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Barrier, Bench, call, ctx, key } from '../support/bench.ts'
import { TestClock } from '../support/clock.ts'

/** What should be: VF by container, and what must be detached although its detach failed. */
interface Model {
  readonly attached: Map<string, number>
  readonly due: Map<string, number>
}

interface Real {
  readonly bench: Bench
  readonly clock: TestClock
}

type Command = fc.AsyncCommand<Model, Real>

const CONTAINERS = ['a', 'b', 'c', 'd']
const VFS = 3

/** Whether another attachment than `id` has the VF. */
const takenFrom = (model: Model, id: string, vf: number): boolean =>
  [...model.attached, ...model.due].some(([other, held]) => held === vf && other !== id)

/** Journal, network and replies must agree with the model after every command. */
const compare = async (model: Model, { bench }: Real): Promise<void> => {
  const expected = Object.fromEntries([
    ...[...model.attached].map(([id, vf]) => [id, `attached on ${vf}`]),
    ...[...model.due].map(([id, vf]) => [id, `detaching on ${vf}`]),
  ])
  const listed = await bench.service.list(ctx())
  expect(Object.fromEntries(listed.map(({ key: { containerId }, state, vf }) => [containerId, `${state} on ${vf.index}`]))).toEqual(
    expected,
  )
  for (const [id, vf] of model.attached) {
    const connected = bench.network.connected.get(formatAttachmentKey(key(id)))
    expect(connected?.port).toBe(`port${vf}`)
    expect(listed.find((state) => state.key.containerId === id)?.result).toEqual(connected?.result)
  }
  const foreign = [...bench.network.connected.values()].filter(
    ({ key: { containerId } }) => !model.attached.has(containerId) && !model.due.has(containerId),
  )
  expect(foreign).toEqual([])
}

const command = (name: string, act: (model: Model, real: Real) => Promise<void>): Command => ({
  check: () => true,
  toString: () => name,
  run: async (model, real) => {
    await act(model, real)
    await compare(model, real)
  },
})

/** How a call meets trouble: the adapter fails before or after its effect, the caller gives up, and undoing may fail too. */
type Trouble = 'none' | 'before' | 'after' | 'abort'

const attach = (id: string, vf: number, trouble: Trouble, undoFails: boolean): Command =>
  command(`attach ${id} on ${vf}, trouble ${trouble}${undoFails ? ', undo fails' : ''}`, async (model, { bench }) => {
    const controller = new AbortController()
    const { network } = bench
    if (trouble === 'before') network.before.attach = () => Promise.reject(new Error('before'))
    if (trouble === 'after') network.afterAttach = () => Promise.reject(new Error('after'))
    if (trouble === 'abort') network.afterAttach = () => controller.abort()
    if (undoFails) network.before.detach = () => Promise.reject(new Error('undo'))
    const reply = await bench.service.attach(call(id, vf), ctx({ signal: controller.signal })).catch((error: { code: string }) => error)
    network.before = {}
    network.afterAttach = undefined

    if (model.attached.get(id) === vf) {
      expect(reply).toMatchObject({ port: `port${vf}` })
      return
    }
    if (takenFrom(model, id, vf)) {
      expect(reply).toMatchObject({ code: 'ALREADY_EXISTS' })
      return
    }
    const old = model.attached.get(id) ?? model.due.get(id)
    if (old !== undefined) {
      model.attached.delete(id)
      if (undoFails) {
        model.due.set(id, old)
        expect(reply).toMatchObject({ code: 'ADAPTER_FAILED' })
        return
      }
      model.due.delete(id)
    }
    if (trouble === 'none') {
      expect(reply).toMatchObject({ port: `port${vf}` })
      model.attached.set(id, vf)
    } else {
      expect(reply).toMatchObject({ code: trouble === 'abort' ? 'CANCELLED' : 'ADAPTER_FAILED' })
      if (undoFails) model.due.set(id, vf)
    }
  })

const detach = (id: string, fails: boolean): Command =>
  command(`detach ${id}${fails ? ', fails' : ''}`, async (model, { bench }) => {
    if (fails) bench.network.before.detach = () => Promise.reject(new Error('detach'))
    const failed = await bench.service.detach({ key: key(id) }, ctx()).then(
      () => false,
      () => true,
    )
    bench.network.before = {}
    expect(failed).toBe(fails)
    const vf = model.attached.get(id) ?? model.due.get(id)
    model.attached.delete(id)
    model.due.delete(id)
    if (fails && vf !== undefined) model.due.set(id, vf)
  })

const restart: Command = command('restart', async (model, { bench }) => {
  await bench.restart()
  model.due.clear()
})

const killDuring = (id: string, vf: number, when: 'before' | 'after'): Command =>
  command(`kill ${when} the effect of attach ${id} on ${vf}`, async (model, { bench }) => {
    const barrier = new Barrier()
    if (when === 'before') bench.network.before.attach = () => barrier.pass()
    else bench.network.afterAttach = () => barrier.pass()
    const running = bench.service.attach(call(id, vf), ctx()).then(
      () => undefined,
      () => undefined,
    )
    const reachedAdapter = await Promise.race([barrier.reached.then(() => true), running.then(() => false)])
    const killed = bench.kill()
    barrier.open()
    await running
    await killed
    bench.network.before = {}
    bench.network.afterAttach = undefined
    expect(reachedAdapter).toBe(model.attached.get(id) !== vf && !takenFrom(model, id, vf))
    if (reachedAdapter) model.attached.delete(id)
    model.due.clear()
    await bench.boot()
  })

const retryAll = async ({ bench, clock }: Real): Promise<void> => {
  while (Object.values(bench.states()).includes('detaching')) {
    if (clock.sleeping.length > 0) await clock.wake()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const retry: Command = command('retries run', async (model, real) => {
  await retryAll(real)
  model.due.clear()
})

const resync = (wired: readonly [string, number][], lost: readonly string[]): Command =>
  command(`resync ${JSON.stringify(wired)} after the network lost ${lost.join(',') || 'nothing'}`, async (model, { bench }) => {
    for (const id of lost) bench.network.connected.delete(formatAttachmentKey(key(id)))
    const events = await bench.resync(wired.map(([id, vf]) => call(id, vf)))
    expect(events.map((event) => event.action)).not.toContain('failed')
    const known = new Set([...wired.map(([id]) => id), ...model.attached.keys(), ...model.due.keys()])
    expect(events.map((event) => event.key.containerId).toSorted()).toEqual([...known].toSorted())
    for (const event of events) if (event.action === 'kept') expect(lost).not.toContain(event.key.containerId)
    model.due.clear()
    model.attached.clear()
    for (const [id, vf] of wired) model.attached.set(id, vf)
  })

const anyContainer = fc.constantFrom(...CONTAINERS)
const anyVf = fc.nat({ max: VFS - 1 })

const anyCommand = [
  fc
    .tuple(anyContainer, anyVf, fc.constantFrom<Trouble>('none', 'none', 'before', 'after', 'abort'), fc.boolean())
    .map((args) => attach(...args)),
  fc.tuple(anyContainer, anyVf).map(([id, vf]) => attach(id, vf, 'none', false)),
  fc.tuple(anyContainer, fc.boolean()).map((args) => detach(...args)),
  fc.constant(restart),
  fc.constant(retry),
  fc.tuple(anyContainer, anyVf, fc.constantFrom('before' as const, 'after' as const)).map((args) => killDuring(...args)),
  fc
    .tuple(
      fc.shuffledSubarray(CONTAINERS, { maxLength: VFS }),
      fc.shuffledSubarray(
        Array.from({ length: VFS }, (_, vf) => vf),
        { minLength: VFS },
      ),
      fc.subarray(CONTAINERS),
    )
    .map(([ids, vfs, lost]) =>
      resync(
        ids.map((id, at): [string, number] => [id, vfs[at] ?? 0]),
        lost,
      ),
    ),
]

describe('any history of calls, failures, kills and restarts', () => {
  test('leaves journal, network and replies in agreement', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.commands(anyCommand, { maxCommands: 25 }), async (commands) => {
        const clock = new TestClock()
        await using bench = await Bench.start({ vfs: VFS, clock })
        await fc.asyncModelRun(() => ({ model: { attached: new Map(), due: new Map() }, real: { bench, clock } }), commands)
      }),
      { numRuns: 60 },
    )
  })

  test('also when the calls of many containers overlap', { timeout: 120_000 }, async () => {
    const step = fc.tuple(fc.constantFrom('attach', 'attach', 'detach'), anyContainer, anyVf, fc.boolean())
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.array(step, { minLength: 2, maxLength: 16 }), async (scheduler, steps) => {
        const clock = new TestClock()
        await using bench = await Bench.start({ vfs: VFS, clock })
        const pause = (): Promise<unknown> => scheduler.schedule(Promise.resolve())
        bench.network.before = { attach: pause, detach: pause }
        const running = steps.map(async ([what, id, vf, givesUp]) => {
          const controller = new AbortController()
          const context = ctx({ signal: controller.signal })
          const done = what === 'attach' ? bench.service.attach(call(id, vf), context) : bench.service.detach({ key: key(id) }, context)
          if (givesUp) void scheduler.schedule(Promise.resolve()).then(() => controller.abort())
          const outcome = await done.then(
            () => 'done',
            (error: { code: string }) => error.code,
          )
          // "while another call uses" is the adapter's complaint about calls that were not kept apart.
          expect(['done', 'CANCELLED', 'ALREADY_EXISTS']).toContain(outcome)
        })
        await scheduler.waitFor(Promise.all(running))
        bench.network.before = {}
        // Giving up in the middle of a detach leaves it to be repeated.
        await retryAll({ bench, clock })
        const rows = bench.journal.all()
        const attached = rows.filter(({ state }) => state === 'attached')
        expect([...bench.network.connected].map(([id, { port, result }]) => ({ id, port, result })).toSorted(byId)).toEqual(
          attached.map((row) => ({ id: formatAttachmentKey(row.key), port: row.port, result: row.result })).toSorted(byId),
        )
      }),
      { numRuns: 60 },
    )
  })
})

const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1)

test('the model itself notices an attachment that is nowhere', async () => {
  const clock = new TestClock()
  await using bench = await Bench.start({ clock })
  await expect(compare({ attached: new Map([['a', 0]]), due: new Map() }, { bench, clock })).rejects.toThrow()
})
