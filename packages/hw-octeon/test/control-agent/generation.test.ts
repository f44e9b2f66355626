import { describe, expect, it } from 'vitest'
import { agentDevices, type AgentDevices, agentGeneration, type AgentSdk, OCTEON_FUNCTIONS, type OcteonDevice } from '../../src/index.ts'

const PEM = ['0001:00:10.0']
const DPI = ['0000:06:00.0']
const PAIR = ['0002:18:00.0', '0002:19:00.0']

const devices = (more: Partial<AgentDevices> = {}): AgentDevices => ({ pem: PEM, dpi: DPI, sdpRvu: [], ...more })

describe('agentGeneration', () => {
  it.each<[string, AgentDevices, AgentSdk | 'auto', unknown]>([
    [
      'firmware of SDK 12.25.03',
      devices({ sdpRvu: PAIR }),
      'auto',
      {
        sdk: '12.25.03',
        options: ['--sdp_rvu_pf', '0002:18:00.0,0002:19:00.0', '--pem_dev', '0001:00:10.0'],
        vfio: ['0002:18:00.0', '0002:19:00.0', '0001:00:10.0'],
        hugepages: false,
        module: 'vfio-pci',
      },
    ],
    [
      'firmware of SDK 12.25.01',
      devices(),
      'auto',
      {
        sdk: '12.25.01',
        options: ['--dpi_dev', '0000:06:00.0', '--pem_dev', '0001:00:10.0'],
        vfio: ['0000:06:00.0', '0001:00:10.0'],
        hugepages: true,
        module: 'vfio-pci',
      },
    ],
    [
      'a machine with the module of the oldest agents',
      devices({ outOfTreeModule: true }),
      'auto',
      {
        sdk: '12.24.11',
        options: [],
        vfio: [],
        hugepages: true,
        module: 'pcie_marvell_cnxk_ep',
      },
    ],
    [
      'the agent of 25.04, which takes the second interface only',
      devices({ sdpRvu: PAIR }),
      '25.04',
      {
        sdk: '25.04',
        options: ['--sdp_rvu_pf', '0002:19:00.0', '--pem_dev', '0001:00:10.0'],
        vfio: ['0002:19:00.0', '0001:00:10.0'],
        hugepages: true,
        module: 'vfio-pci',
      },
    ],
    ['an older agent on new firmware', devices({ sdpRvu: PAIR }), '12.25.01', expect.objectContaining({ sdk: '12.25.01' })],
    ['the oldest agent where nobody knows about its module', devices(), '12.24.11', expect.objectContaining({ options: [] })],
  ])('fits %s', (_, found, wanted, expected) => {
    expect(agentGeneration(found, wanted)).toEqual(expected)
  })

  it('gives interfaces in the order of their addresses as numbers, since the agent takes the first for the first', () => {
    const { options } = agentGeneration(devices({ sdpRvu: ['10000:01:00.0', '2000:01:00.0'] }))
    expect(options[1]).toBe('2000:01:00.0,10000:01:00.0')
  })

  it.each<[AgentDevices, AgentSdk | 'auto', string, string]>([
    [devices({ pem: [] }), 'auto', 'HARDWARE_FAILURE', 'the card shows no PCI link (177d:a06c): no control agent fits its firmware'],
    [
      devices({ pem: [...PEM, '0001:01:10.0'] }),
      'auto',
      'HARDWARE_FAILURE',
      'the control agent of SDK 12.25.01 needs exactly one PCI link (177d:a06c), found: 0001:00:10.0, 0001:01:10.0',
    ],
    [
      devices({ sdpRvu: PAIR.slice(1) }),
      'auto',
      'HARDWARE_FAILURE',
      'the control agent of SDK 12.25.03 needs two of the packet interface for the agent (177d:a0ef), found: 0002:19:00.0',
    ],
    [
      devices(),
      '25.04',
      'INVALID_CONFIG',
      'the control agent of SDK 25.04 needs two of the packet interface for the agent (177d:a0ef), found: none',
    ],
    [devices({ dpi: [] }), '12.25.01', 'INVALID_CONFIG', 'the control agent of SDK 12.25.01 needs a DMA engine (177d:a080), found: none'],
    [
      devices({ outOfTreeModule: false }),
      '12.24.11',
      'INVALID_CONFIG',
      'the control agent of SDK 12.24.11 reaches the link by the module pcie_marvell_cnxk_ep, which is not loaded',
    ],
  ])('refuses %j with sdk %s', (found, wanted, code, message) => {
    expect(() => agentGeneration(found, wanted)).toThrow(expect.objectContaining({ code, message, hint: expect.any(String) as string }))
  })
})

describe('agentDevices', () => {
  it('finds the functions for an agent by their ids', () => {
    const functions = OCTEON_FUNCTIONS.filter(({ device }) => ['a06c', 'a080', 'a0ef', 'a0f7'].includes(device)).map(
      (what) => ({ what, pci: { address: `at ${what.device}`, device: what.device } }) as OcteonDevice,
    )
    expect(agentDevices({ functions })).toEqual({ pem: ['at a06c'], dpi: ['at a080'], sdpRvu: ['at a0ef'] })
    expect(agentDevices({ functions }, true).outOfTreeModule).toBe(true)
  })
})
