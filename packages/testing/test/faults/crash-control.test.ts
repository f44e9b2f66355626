import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { CrashControl, randomPlan, seededRandom } from '@cni-offload/testing/faults'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const PROGRAM = fileURLToPath(new URL('fixtures/steps.ts', import.meta.url))

/** The program under control, and all that it has printed. */
class Program implements AsyncDisposable {
  readonly lines: string[] = []
  readonly exit: Promise<unknown[]>
  readonly #child: ChildProcessWithoutNullStreams
  #wake = Promise.withResolvers<void>()

  constructor({ execArgv, env }: CrashControl['launch']) {
    this.#child = spawn(process.execPath, [...execArgv, PROGRAM], { env: { PATH: process.env['PATH'], ...env } })
    this.exit = once(this.#child, 'exit')
    this.#child.stderr.resume()
    createInterface(this.#child.stdout).on('line', (line) => {
      this.lines.push(line)
      this.#wake.resolve()
      this.#wake = Promise.withResolvers()
    })
  }

  /** Waits until a line has come so often. */
  async said(line: string, times: number = 1): Promise<void> {
    while (this.lines.filter((said) => said === line).length < times) await this.#wake.promise
  }

  round(): void {
    this.#child.stdin.write('go\n')
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.exit
  }
}

describe('CrashControl', () => {
  let dir: string
  let control: CrashControl

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'crash-'))
    control = new CrashControl(join(dir, 'plan.json'))
  })
  afterEach(() => {
    rmSync(dir, { recursive: true, force: true })
  })

  it('kills a running process exactly at a step, says so, and leaves the next one alone', async () => {
    await using program = new Program(control.launch)
    await program.said('ready')
    program.round()
    await program.said('round')
    expect(control.report()).toBeUndefined()
    control.arm({ step: 'demo.add.two' })
    program.round()
    expect(await program.exit).toEqual([null, 'SIGKILL'])
    expect(program.lines.filter((line) => line === 'demo.add.three')).toHaveLength(1)
    expect(control.report()).toMatchObject({ step: 'demo.add.two' })

    await using next = new Program(control.launch)
    await next.said('ready')
    next.round()
    await next.said('round')
  })

  it('counts occurrences from when it was armed, of one step or of all', async () => {
    await using program = new Program(control.launch)
    await program.said('ready')
    program.round()
    await program.said('round')
    control.arm({ step: 'demo.add.one', occurrence: 2 })
    program.round()
    await program.said('round', 2)
    expect(control.report()).toBeUndefined()
    control.arm({ occurrence: 5 })
    program.round()
    await program.said('round', 3)
    program.round()
    expect(await program.exit).toEqual([null, 'SIGKILL'])
    expect(control.report()).toMatchObject({ step: 'demo.add.two' })
  })

  it('stops a process, which goes on when it is told to', async () => {
    await using program = new Program(control.launch)
    await program.said('ready')
    control.arm({ step: 'demo.add.one', action: 'stop' })
    program.round()
    await expect.poll(() => control.report(), { timeout: 15_000, interval: 5 }).toMatchObject({ step: 'demo.add.one' })
    expect(program.lines).not.toContain('demo.add.two')
    program.signal('SIGCONT')
    await program.said('round')
  })

  it('takes a plan back', async () => {
    await using program = new Program(control.launch)
    await program.said('ready')
    control.arm({})
    control.disarm()
    program.round()
    await program.said('round')
    expect(control.report()).toBeUndefined()
  })

  it('a plan that is none ends the process with the reason', async () => {
    writeFileSync(join(dir, 'plan.json'), '{"id":"x","occurrence":0}')
    await using program = new Program(control.launch)
    program.round()
    expect(await program.exit).toEqual([1, null])
  })
})

describe('randomPlan', () => {
  it('is the same for the same seed and reaches every step', () => {
    const draw = (seed: number): (number | undefined)[] => {
      const random = seededRandom(seed)
      return Array.from({ length: 200 }, () => randomPlan(random, 7).occurrence)
    }
    expect(draw(42)).toEqual(draw(42))
    expect(draw(42)).not.toEqual(draw(43))
    expect([...new Set(draw(1))].toSorted()).toEqual([1, 2, 3, 4, 5, 6, 7])
  })
})
