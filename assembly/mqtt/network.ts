// A range of IP addresses: an address of 16 bytes, an IPv4 one as ::ffff:a.b.c.d, and which of its bits must be equal.
import { NETWORK_ADDRESS, NETWORK_MASK } from '../layout';
import { AF_INET6 } from '../uring/abi';
import { isKnown } from './sockaddr';

/** The sockaddr's address lies in the network. */
export function holds(network: usize, sockaddr: usize): bool {
  if (!isKnown(sockaddr)) return false;
  let high: u64 = 0;
  let low: u64 = 0;
  if (load<u16>(sockaddr) == AF_INET6) {
    high = load<u64>(sockaddr, 8);
    low = load<u64>(sockaddr, 16);
  } else {
    low = ((<u64>load<u32>(sockaddr, 4)) << 32) | 0xffff0000;
  }
  const highDiffers = (high ^ load<u64>(network, NETWORK_ADDRESS)) & load<u64>(network, NETWORK_MASK);
  const lowDiffers = (low ^ load<u64>(network, NETWORK_ADDRESS + 8)) & load<u64>(network, NETWORK_MASK + 8);
  return (highDiffers | lowDiffers) == 0;
}
