// Scratch that a thread keeps: aligned to a cache line, never smaller than it was, not initialised.
// What was in it is lost when it grows.
#pragma once

#include <cstddef>
#include <new>

namespace backstride {

template <typename Value>
class Scratch {
public:
    Scratch() = default;
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() { ::operator delete(data_, line); }

    Value* get(std::ptrdiff_t count) {
        if (count > size_) {
            ::operator delete(data_, line);
            data_ = nullptr, size_ = 0;
            data_ = static_cast<Value*>(::operator new(static_cast<std::size_t>(count) * sizeof(Value), line));
            size_ = count;
        }
        return data_;
    }

private:
    static constexpr auto line = std::align_val_t{64};
    Value* data_ = nullptr;
    std::ptrdiff_t size_ = 0;
};

}  // namespace backstride
