import { describe, expect, it } from 'vitest'
import { withGateway } from '../../src/cni/index.ts'

const ips = [{ address: 'fd00::2/64', gateway: 'fd00::1' }, { address: '10.1.0.2/16' }, { address: '10.0.0.2/24', gateway: '10.0.0.1' }]

describe('withGateway', () => {
  it.each([
    ['0.0.0.0/0', '10.0.0.1'],
    ['::/0', 'fd00::1'],
  ])('%s goes by %s, the gateway of its family', (dst, gw) => {
    expect(withGateway({ dst, mtu: 1400 }, ips)).toEqual({ dst, gw, mtu: 1400 })
  })

  it('keeps the gateway that a route has, and finds none where there is none', () => {
    expect(withGateway({ dst: '0.0.0.0/0', gw: '10.0.0.9' }, ips)).toEqual({ dst: '0.0.0.0/0', gw: '10.0.0.9' })
    expect(withGateway({ dst: '::/0' }, ips.slice(1))).toEqual({ dst: '::/0' })
  })
})
