import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nodeEnvironment } from '@cni-offload/sdk/exec'
import { CrashControl } from '../../faults/crash-control.ts'
import type { CrashPlan } from '../../faults/crash-plan.ts'
import type { CrashOrder } from './order.ts'

const PROGRAM = fileURLToPath(new URL(`./program.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url))
const LIMIT_MS = 30_000

/**
 * Has another process follow an order, and kills it at one of the steps of the last call.
 *
 * @param plan - at which one
 * @returns name of the step; undefined if the call did not reach it and came to its end
 */
export async function crashAdapter(order: CrashOrder, plan: Omit<CrashPlan, 'action'>): Promise<string | undefined> {
  const dir = await mkdtemp(join(tmpdir(), 'crash-adapter-'))
  const control = new CrashControl(join(dir, 'plan'))
  const { execArgv, env } = control.launch
  const child = spawn(process.execPath, [...execArgv, PROGRAM], {
    env: { PATH: process.env['PATH'], ...nodeEnvironment(), ...env },
    timeout: LIMIT_MS,
    killSignal: 'SIGTERM',
  })
  const errors: Buffer[] = []
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk))
  // It may be gone before it has read all.
  child.stdin.on('error', () => {})
  const ended = once(child, 'close')
  try {
    child.stdin.write(`${JSON.stringify(order)}\n`)
    await Promise.race([once(child.stdout, 'data'), ended])
    control.arm(plan)
    child.stdin.write('go\n')
    const [code, signal] = (await ended) as [number | null, NodeJS.Signals | null]
    const step = control.report()?.step
    const why = `${order.calls.join(' and ')} in a process of its own: ${Buffer.concat(errors).toString()}`
    if (step === undefined) assert.equal(code, 0, `exit code of ${why}`)
    else assert.equal(signal, 'SIGKILL', `signal that ended ${why}`)
    return step
  } finally {
    child.kill('SIGKILL')
    await rm(dir, { recursive: true, force: true })
  }
}
