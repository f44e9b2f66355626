import { describe, expect, it } from 'vitest'
import { agentCommand, parseAgentCommand } from '../../src/index.ts'

const OPTIONS = ['--sdp_rvu_pf', '0002:18:00.0,0002:19:00.0', '--pem_dev', '0001:00:10.0']
const generation = { options: OPTIONS }

describe('agentCommand', () => {
  it('puts its own options before those of the library', () => {
    expect(agentCommand({ generation, cfg: '/run/c.cfg', pollMs: 2, maxMessages: 12, stdbuf: '/usr/bin/stdbuf' })).toEqual([
      '/usr/bin/stdbuf',
      '-oL',
      '/usr/bin/octep_cp_agent',
      '/run/c.cfg',
      '-y',
      '2',
      '-m',
      '12',
      '--',
      ...OPTIONS,
    ])
    expect(agentCommand({ generation: { options: [] }, cfg: '/c', binary: '/opt/agent' })).toEqual(['/opt/agent', '/c'])
  })

  it.each([
    [{ cfg: 'c.cfg' }, 'control agent: cfg = "c.cfg": an absolute path is expected'],
    [{ cfg: '/c', binary: 'agent' }, 'control agent: binary = "agent": an absolute path is expected'],
    [{ cfg: '/c', stdbuf: 'stdbuf' }, 'control agent: stdbuf = "stdbuf": an absolute path is expected'],
    [{ cfg: '/c', pollMs: 0 }, 'control agent: pollMs = 0: a whole number of at least 1 is expected'],
    [{ cfg: '/c', maxMessages: 1.5 }, 'control agent: maxMessages = 1.5: a whole number of at least 1 is expected'],
  ])('refuses %j', (choice, message) => {
    expect(() => agentCommand({ generation, ...choice })).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG', message }))
  })
})

describe('parseAgentCommand', () => {
  it('reads what agentCommand makes, whatever starts it', () => {
    const read = { cfg: '/run/c.cfg', pem: '0001:00:10.0', dpi: undefined, sdpRvu: ['0002:18:00.0', '0002:19:00.0'], pollMs: 2 }
    const argv = agentCommand({ generation, cfg: '/run/c.cfg', pollMs: 2 })
    expect(parseAgentCommand(argv)).toEqual(read)
    expect(parseAgentCommand(['/usr/bin/node', ...argv])).toEqual(read)
    expect(parseAgentCommand(agentCommand({ generation, cfg: '/run/c.cfg', stdbuf: '/usr/bin/stdbuf' }))).toEqual({ ...read, pollMs: 1 })
  })

  it.each([[[]], [['octep_cp_agent']], [['/bin/sh', '-c', 'octep_cp_agent /c.cfg']], [['vim', '/etc/octep_cp_agent.cfg', 'x']]])(
    'takes %j for no agent',
    (argv) => expect(parseAgentCommand(argv)).toBeUndefined(),
  )

  it('reads the oldest one, which has no options of a library', () => {
    expect(parseAgentCommand(['./octep_cp_agent', 'cn106xx.cfg'])).toEqual({
      cfg: 'cn106xx.cfg',
      pem: undefined,
      dpi: undefined,
      sdpRvu: [],
      pollMs: 1,
    })
    for (const [value, pollMs] of [
      ['7', 7],
      ['0', 1],
      ['-3', 1],
      ['x', 1],
      ['2.9', 2],
    ] as const)
      expect(parseAgentCommand(['octep_cp_agent', 'c.cfg', '-y', value])?.pollMs).toBe(pollMs)
    // Behind the two dashes it is the library's.
    expect(parseAgentCommand(['octep_cp_agent', 'c.cfg', '--', '-y', '9'])?.pollMs).toBe(1)
  })
})
