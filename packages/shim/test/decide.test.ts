import { describe, expect, it } from 'vitest'
import { decide } from '../src/decide.ts'

const lookup = (env: Record<string, string>) => (name: string) => env[name] ?? ''

describe('decide', () => {
  it('asks the daemon at its usual place', () => {
    expect(decide(lookup({ CNI_COMMAND: 'STATUS' }), '{}', true)).toMatchObject({
      kind: 'ask',
      call: { socketPath: '/run/cni-offload/host.sock', timeoutMs: 110_000 },
    })
  })

  it('does not ask when standard input cannot be read', () => {
    const decision = decide(lookup({ CNI_COMMAND: 'STATUS' }), '', false)
    expect(decision.kind === 'answer' && JSON.parse(Buffer.from(decision.answer.stdout).toString())).toMatchObject({ code: 5 })
  })
})
