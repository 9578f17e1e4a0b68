// Label map of a photo (PNG) by a file of `lemore export --with-normalization --labels image`.
//
//   segment lemore.onnx street.png labels.png
//
// labels.png holds the train id of each pixel and shows it in the colour of its class.

#include <onnxruntime_cxx_api.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using Bytes = std::vector<std::uint8_t>;

// A value of the file's metadata, as JSON.
std::string find_metadata(const Ort::Session& session, const char* key) {
  Ort::AllocatorWithDefaultOptions allocator;
  auto text = session.GetModelMetadata().LookupCustomMetadataMapAllocated(key, allocator);
  if (!text) throw std::runtime_error(std::string("the model has no metadata '") + key + "'");
  return text.get();
}

// The whole numbers in a JSON text, in their order.
std::vector<int> list_numbers(const std::string& json) {
  std::vector<int> numbers;
  for (const char* at = json.c_str(); *at;) {
    char* end = nullptr;
    if (std::isdigit(static_cast<unsigned char>(*at)))
      numbers.push_back(static_cast<int>(std::strtol(at, &end, 10)));
    at = end ? end : at + 1;
  }
  return numbers;
}

// Reads RGB pixels, H W 3; `photo` gets the size.
Bytes read_png(png_image& photo, const char* path) {
  photo.version = PNG_IMAGE_VERSION;
  Bytes pixels;
  if (png_image_begin_read_from_file(&photo, path)) {
    photo.format = PNG_FORMAT_RGB;
    pixels.resize(PNG_IMAGE_SIZE(photo));
    png_image_finish_read(&photo, nullptr, pixels.data(), 0, nullptr);
  }
  if (PNG_IMAGE_FAILED(photo)) throw std::runtime_error(std::string(path) + ": " + photo.message);
  return pixels;
}

// The two pixels of a row (or column) that a sample lies between, and the second one's share.
struct Place {
  int before, after;
  double share;
};

Place find_place(int index, int samples, int pixels) {
  const double at = (index + 0.5) * (static_cast<double>(pixels) / samples) - 0.5;
  const int before = static_cast<int>(std::floor(at));
  return {std::max(before, 0), std::min(before + 1, pixels - 1), at - before};
}

// Samples RGB pixels H W 3 without smoothing, as in training; float 3 h w, 0..255.
std::vector<float> resize(const Bytes& pixels, int H, int W, int h, int w) {
  std::vector<float> image(3 * h * w);
  for (int y = 0; y < h; ++y) {
    const Place row = find_place(y, h, H);
    for (int x = 0; x < w; ++x) {
      const Place column = find_place(x, w, W);
      for (int channel = 0; channel < 3; ++channel) {
        const auto mix = [&](int line) {
          const double left = pixels[(line * W + column.before) * 3 + channel];
          return left + (pixels[(line * W + column.after) * 3 + channel] - left) * column.share;
        };
        const double top = mix(row.before);
        image[(channel * h + y) * w + x] =
            static_cast<float>(top + (mix(row.after) - top) * row.share);
      }
    }
  }
  return image;
}

// Train ids 1 h w of an image 3 h w.
Bytes run(Ort::Session& session, std::vector<float>& image, int h, int w) {
  const std::array<std::int64_t, 4> shape{1, 3, h, w};
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeCPU);
  auto input = Ort::Value::CreateTensor<float>(memory, image.data(), image.size(), shape.data(), 4);
  const char *inputs[] = {"image"}, *outputs[] = {"output"};
  auto output = session.Run(Ort::RunOptions{nullptr}, inputs, &input, 1, outputs, 1);
  const std::uint8_t* ids = output[0].GetTensorData<std::uint8_t>();
  return {ids, ids + h * w};
}

// Writes train ids H W as a PNG whose palette has the classes' colours, R G B of each.
void write_png(const char* path, const Bytes& labels, int H, int W, const Bytes& colors) {
  png_image picture{};
  picture.version = PNG_IMAGE_VERSION;
  picture.height = H;
  picture.width = W;
  picture.format = PNG_FORMAT_RGB_COLORMAP;
  picture.colormap_entries = colors.size() / 3;
  if (!png_image_write_to_file(&picture, path, 0, labels.data(), 0, colors.data()))
    throw std::runtime_error(std::string(path) + ": " + picture.message);
}

int main(int argc, char** argv) try {
  if (argc != 4) throw std::runtime_error("usage: segment lemore.onnx street.png labels.png");
  Ort::Env env;
  Ort::Session session(env, std::filesystem::path(argv[1]).c_str(), Ort::SessionOptions());
  if (find_metadata(session, "input") != "\"RGB 0..255\"" ||
      find_metadata(session, "output") != "\"train ids\"")
    throw std::runtime_error("export the model with --with-normalization --labels image");

  png_image photo{};
  const Bytes pixels = read_png(photo, argv[2]);
  const int H = photo.height, W = photo.width;
  const auto size = list_numbers(find_metadata(session, "size"));
  const int h = size.at(0), w = size.at(1);
  auto image = resize(pixels, H, W, h, w);
  const Bytes small = run(session, image, h, w);

  Bytes labels(pixels.size() / 3);  // each pixel takes the nearest label
  std::array<std::size_t, 256> counts{};
  for (std::int64_t y = 0; y < H; ++y)
    for (std::int64_t x = 0; x < W; ++x) {
      const auto row = (2 * y + 1) * h / (2 * H), column = (2 * x + 1) * w / (2 * W);
      const std::uint8_t id = labels[y * W + x] = small[row * w + column];
      ++counts[id];
    }
  const auto colors = list_numbers(find_metadata(session, "colors"));
  write_png(argv[3], labels, H, W, Bytes(colors.begin(), colors.end()));

  std::istringstream names(find_metadata(session, "classes"));  // ["sky", "road"]
  int id = 0;
  for (std::string name; names.ignore() >> std::quoted(name); ++id)
    if (counts[id])
      std::cout << name << ": " << std::fixed << std::setprecision(1)
                << 100.0 * counts[id] / labels.size() << "%\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
